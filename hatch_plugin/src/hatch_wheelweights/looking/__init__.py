"""Looking into files: what is in them and how two of them differ, as values, then in words, tables and a page."""
