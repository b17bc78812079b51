"""`python -m digits`, the same as the command `digits`."""

from digits.cli import main

main()
