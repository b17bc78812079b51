"""`python -m hatch_wheelweights`: the command line."""

from hatch_wheelweights.cli import main

if __name__ == "__main__":
    main()
