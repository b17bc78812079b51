"""What a reader gives: the one shape that all containers end in."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hatch_wheelweights.checkpoint.tensors import READING
from wheelweights.errors import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Contents", "naming"]


@dataclass(frozen=True)
class Contents:
    """The content of a checkpoint: its kind, its tree, and what is to be said about it; see `Checkpoint`."""

    kind: str
    tree: Any
    warnings: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Give errors raised inside, and tensors described inside, the file's name as the caller wrote it."""
    before = READING.set(path)
    try:
        yield
    except WheelweightsError as error:
        error.path = error.path or path
        raise
    finally:
        READING.reset(before)
