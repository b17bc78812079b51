"""What is in one file: read as facts, told as a tree of modules, and shown in a terminal, a notebook and a page."""
