"""Model weights from an installed wheel: memory-mapped, typed, without torch, pickle or network.

`load` opens a record that a package ships, `open_record` one at a path; `bind` puts its tensors into a model made of
dataclasses, such as those of `wheelweights.nn`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wheelweights._version import __version__
from wheelweights.binding import BindReport, Shape, bind, bind_report
from wheelweights.errors import BindError, DtypeError, RecordError, WheelweightsError
from wheelweights.package import load
from wheelweights.record import Record, TensorInfo, open_record, write_record

if TYPE_CHECKING:
    from wheelweights import nn as nn

__all__ = [
    "BindError",
    "BindReport",
    "DtypeError",
    "Record",
    "RecordError",
    "Shape",
    "TensorInfo",
    "WheelweightsError",
    "__version__",
    "bind",
    "bind_report",
    "load",
    "nn",
    "open_record",
    "write_record",
]


def __getattr__(name: str) -> Any:
    """Import `nn` when it is first used: not everybody computes with numpy."""
    if name == "nn":
        import wheelweights.nn  # noqa: PLC0415

        return wheelweights.nn
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
