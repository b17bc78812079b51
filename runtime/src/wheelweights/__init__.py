"""Model weights from an installed wheel: memory-mapped, typed, without torch, pickle or network.

`load` opens a record that a package ships, `open_record` one at a path; `bind` puts its tensors into a model made of
dataclasses, such as those of `wheelweights.nn`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from wheelweights._version import __version__
from wheelweights.errors import DtypeError, RecordError, WheelweightsError

if TYPE_CHECKING:
    from wheelweights import nn as nn
    from wheelweights.binding import Length, Shape, bind, bind_report
    from wheelweights.checking import CheckError, CheckReport, check
    from wheelweights.package import load
    from wheelweights.record import Record, TensorInfo, open_record, write_record
    from wheelweights.report import BindError, BindReport
    from wheelweights.state import state_dict

__all__ = [
    "BindError",
    "BindReport",
    "CheckError",
    "CheckReport",
    "DtypeError",
    "Length",
    "Record",
    "RecordError",
    "Shape",
    "TensorInfo",
    "WheelweightsError",
    "__version__",
    "bind",
    "bind_report",
    "check",
    "load",
    "nn",
    "open_record",
    "state_dict",
    "write_record",
]

_HOMES: Final = {
    "binding": ("Length", "Shape", "bind", "bind_report"),
    "checking": ("CheckError", "CheckReport", "check"),
    "package": ("load",),
    "record": ("Record", "TensorInfo", "open_record", "write_record"),
    "report": ("BindError", "BindReport"),
    "state": ("state_dict",),
}

if not TYPE_CHECKING:  # a type checker would take any name for a public one

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used, so that nobody waits for what they do not need."""
        if name == "nn":
            return importlib.import_module(f"{__name__}.nn")
        for module, names in _HOMES.items():
            if name in names:
                found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{module}"), name)
                return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
