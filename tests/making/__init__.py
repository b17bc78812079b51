"""What tests are given: files, packages and models made by hand. Nothing here looks at a result."""
