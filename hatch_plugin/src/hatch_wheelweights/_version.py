"""The version: that of the runtime, which this distribution requires exactly."""

from wheelweights import __version__

__all__ = ["__version__"]
