"""The options: what there is to configure, and how it is read."""
