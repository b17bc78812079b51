"""What a reader gives: the one shape that all containers end in."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hatch_wheelweights.checkpoint.tensors import READING
from wheelweights.errors import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from hatch_wheelweights.checkpoint.files import OpenFile

__all__ = ["Contents", "naming"]


@dataclass(frozen=True)
class Contents:
    """The content of a checkpoint.

    `kind` names the container, `tree` is what it holds: nested plain values, tensors and inert nodes. `warnings` says
    what is unusual about the file, `metadata` what a safetensors header says besides the tensors. `files` are the
    files it was read from, still open: the index first, where there is one, then its shards in order.
    """

    kind: str
    tree: Any
    warnings: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    files: tuple[OpenFile, ...] = field(kw_only=True)


@contextlib.contextmanager
def naming(path: str) -> Generator[None, None, None]:
    """Give errors raised inside, and tensors described inside, the file's name as the caller wrote it."""
    before = READING.set(path)
    try:
        yield
    except WheelweightsError as error:
        error.path = error.path or path
        raise
    finally:
        READING.reset(before)
