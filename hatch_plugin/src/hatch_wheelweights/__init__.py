"""Checkpoints of PyTorch and safetensors without torch: read them, take their configuration, convert them into records.

What the build hook does, for use in Python. Nothing of a checkpoint is ever executed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hatch_wheelweights._version import __version__
    from hatch_wheelweights.checkpoint import Global, LazyTensor, Opaque
    from hatch_wheelweights.conversion import Conversion, convert
    from hatch_wheelweights.errors import CheckpointError, ConfigError, RemapError, UnsafePickleError
    from hatch_wheelweights.exporting import Export, export
    from hatch_wheelweights.forward import golden
    from hatch_wheelweights.looking.difference.diff import Difference, diff
    from hatch_wheelweights.looking.inspection.inspection import Inspection, inspect
    from hatch_wheelweights.looking.scaffold import scaffold
    from hatch_wheelweights.opening import Checkpoint, load_config, open_checkpoint
    from hatch_wheelweights.steps.pipeline import StateDict
    from hatch_wheelweights.steps.report import Report

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "ConfigError",
    "Conversion",
    "Difference",
    "Export",
    "Global",
    "Inspection",
    "LazyTensor",
    "Opaque",
    "RemapError",
    "Report",
    "StateDict",
    "UnsafePickleError",
    "__version__",
    "convert",
    "diff",
    "export",
    "golden",
    "inspect",
    "load_config",
    "open_checkpoint",
    "scaffold",
]

_HOMES: Final = {
    "_version": ("__version__",),
    "checkpoint": ("Global", "LazyTensor", "Opaque"),
    "conversion": ("Conversion", "convert"),
    "errors": ("CheckpointError", "ConfigError", "RemapError", "UnsafePickleError"),
    "exporting": ("Export", "export"),
    "forward": ("golden",),
    "looking.difference.diff": ("Difference", "diff"),
    "looking.inspection.inspection": ("Inspection", "inspect"),
    "looking.scaffold": ("scaffold",),
    "opening": ("Checkpoint", "load_config", "open_checkpoint"),
    "steps.pipeline": ("StateDict",),
    "steps.report": ("Report",),
}

if not TYPE_CHECKING:  # a type checker would take any name for a public one

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used: Hatch imports this package in every build of the environment."""
        import importlib  # noqa: PLC0415

        for module, names in _HOMES.items():
            if name in names:
                found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
