"""Typed dataclasses that a file binds to, as Python source.

    keys -> modules -> layers and classes -> what makes them -> text

Whatever a file does not say is a comment that says so. Names come from files: they are fields where Python takes them
as they are, and texts in quotes elsewhere, so that the source always compiles.
"""

from hatch_wheelweights.looking.scaffold.scaffold import scaffold, scaffold_file

__all__ = ["scaffold", "scaffold_file"]
