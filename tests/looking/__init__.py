"""What tests see: how results are compared, and files opened under a budget. Nothing here makes an input."""
