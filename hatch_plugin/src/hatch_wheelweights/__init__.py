"""Checkpoints of PyTorch and safetensors without torch: read them, take their configuration, convert them into records.

What the build hook does, for use in Python. Nothing of a checkpoint is ever executed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hatch_wheelweights._version import __version__

if TYPE_CHECKING:
    from hatch_wheelweights.steps.configuration import load_config
    from hatch_wheelweights.conversion import Conversion, convert
    from hatch_wheelweights.steps.pipeline import Report
    from hatch_wheelweights.checkpoint import Checkpoint, Global, LazyTensor, Opaque, open_checkpoint
    from hatch_wheelweights.errors import CheckpointError, ConfigError, RemapError, UnsafePickleError

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "ConfigError",
    "Conversion",
    "Global",
    "LazyTensor",
    "Opaque",
    "RemapError",
    "Report",
    "UnsafePickleError",
    "__version__",
    "convert",
    "load_config",
    "open_checkpoint",
]

_HOMES = {
    "steps.configuration": ("load_config",),
    "conversion": ("Conversion", "convert"),
    "steps.pipeline": ("Report",),
    "checkpoint": ("Checkpoint", "Global", "LazyTensor", "Opaque", "open_checkpoint"),
    "errors": ("CheckpointError", "ConfigError", "RemapError", "UnsafePickleError"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used.

    Hatch imports this package, for its hook, in every build of the environment.
    """
    for module, names in _HOMES.items():
        if name in names:
            found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
