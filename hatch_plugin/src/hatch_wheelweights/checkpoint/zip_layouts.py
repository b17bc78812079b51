"""Zip archives of torch: one container, three layouts.

Knows which layout is asked first and what an archive of none of them is; the layouts know their members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from hatch_wheelweights.checkpoint import pt2, pytorch_zip, torchscript
from hatch_wheelweights.checkpoint.contents import Contents, unused_storages
from hatch_wheelweights.checkpoint.foreign import refuse_archive
from hatch_wheelweights.checkpoint.remedies import UNPACK
from hatch_wheelweights.checkpoint.zip import ZipArchive
from hatch_wheelweights.checkpoint.zip_members import checked_members
from hatch_wheelweights.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hatch_wheelweights.checkpoint.files import OpenFile
    from hatch_wheelweights.checkpoint.pytorch_zip import Pickled

__all__ = ["LAYOUTS", "Layout", "read", "recognises"]


class Layout(NamedTuple):
    """What a zip archive of torch can be: its kind, whether an archive is one, and what it holds."""

    kind: str
    recognises: Callable[[ZipArchive], bool]
    read: Callable[[ZipArchive], Pickled]


# A TorchScript archive has everything that a checkpoint has, and more: the first layout that recognises it reads it
LAYOUTS: Final = (
    Layout("pytorch-export", pt2.recognises, pt2.read),
    Layout("torchscript", torchscript.recognises, torchscript.read),
    Layout("pytorch-zip", pytorch_zip.recognises, pytorch_zip.read),
)


def recognises(data: OpenFile) -> bool:
    """Tell by the header of the first member."""
    return data[:4] == b"PK\x03\x04"


def read(opened: OpenFile) -> Contents:
    """Return what a zip archive of torch holds, whichever of its layouts it has."""
    members = checked_members(opened)
    refuse_archive({member.name for member in members})
    archive = ZipArchive(opened, members)
    for layout in LAYOUTS:
        if layout.recognises(archive):
            found = layout.read(archive)
            warnings = tuple(_warnings(archive, found.unused))
            return Contents(
                layout.kind,
                found.tree,
                warnings,
                storages=found.storages,
                module_classes=found.module_classes,
                files=(opened,),
            )
    raise _no_layout(archive)


def _warnings(archive: ZipArchive, unused: list[str]) -> Iterator[str]:
    if archive.unchecked:
        yield "the file has no checksums, so damage to it would go unnoticed"
    yield from unused_storages(unused)


def _no_layout(archive: ZipArchive) -> CheckpointError:
    if "model.json" in archive:
        return CheckpointError(
            "expected a checkpoint, found a TorchScript archive of torch 1.0 or 1.1",
            remedy="Load it with torch.jit.load in torch and save its state_dict: torch.save(model.state_dict(), path)",
        )
    return CheckpointError("expected a checkpoint, found a zip archive without data.pkl", remedy=UNPACK)
