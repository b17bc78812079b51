"""What costs by names and not by bytes: many small tensors, errors of a large file, inspecting."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import data
from measuring import OURS, Row, compared, whole_process

if TYPE_CHECKING:
    from pathlib import Path


def measure(folder: Path, *, quick: bool) -> list[Row]:
    import safetensors.torch
    import torch

    import hatch_wheelweights
    import wheelweights

    many, more, rounds = (500, 1000, 2) if quick else (20_000, 50_000, 5)
    small = data.state_dict(many * 256 / 2**20, many)
    pt, st = data.write_pt(folder / "many.pt", small), data.write_safetensors(folder / "many.safetensors", small)
    record = folder / "many.mpk"
    rows = compared(
        f"{many:,} small tensors of a .pt: names, shapes and places",
        {
            OURS: lambda: hatch_wheelweights.open_checkpoint(pt).state_dict(),
            f"{OURS}, converted": lambda: hatch_wheelweights.convert(pt, record),
            "torch.load": lambda: torch.load(pt),
            "torch.load(mmap=True)": lambda: torch.load(pt, mmap=True),
        },
        rounds,
    )
    rows += compared(
        f"{many:,} small tensors of a .safetensors",
        {
            OURS: lambda: hatch_wheelweights.open_checkpoint(st).state_dict(),
            f"{OURS}, converted": lambda: hatch_wheelweights.convert(st, record),
            "safetensors.torch.load_file": lambda: safetensors.torch.load_file(st),
        },
        rounds,
    )
    rows += compared(
        f"{many:,} small tensors of a record: open it",
        {OURS: lambda: wheelweights.open_record(record), "torch.load(mmap=True)": lambda: torch.load(pt, mmap=True)},
        rounds,
    )
    large = data.write_pt(folder / "more.pt", data.state_dict(more * 256 / 2**20, more))
    rows += compared(
        f"{more:,} small tensors: a process that shows or loads them",
        {
            f"{OURS} inspect": lambda: subprocess.run(
                [sys.executable, "-m", "hatch_wheelweights", "inspect", large], check=True, capture_output=True
            ),
            "torch.load": lambda: whole_process("import sys, torch; torch.load(sys.argv[1])", large),
        },
        max(2, rounds - 2),
    )
    gigabytes = 1 if quick else 8
    return rows + names_only(folder, gigabytes, rounds)


def names_only(folder: Path, gigabytes: int, rounds: int) -> list[Row]:
    """Ask for a key that is not there: refused by the names, whatever the weights weigh."""
    import torch

    import hatch_wheelweights

    st = data.write_sparse(folder / "sparse.safetensors", gigabytes)
    pt = data.write_sparse_pt(folder / "sparse.pt", gigabytes)

    def refused(source: Path) -> None:
        try:
            hatch_wheelweights.convert(source, folder / "never.mpk", top_level_key="nothing")
        except hatch_wheelweights.CheckpointError:
            return
        raise AssertionError("a key that is not there was found")

    return compared(
        f"an error of names, {gigabytes} GB",
        {
            f"{OURS}, .pt": lambda: refused(pt),
            f"{OURS}, .safetensors": lambda: refused(st),
            "torch.load(mmap=True), no error": lambda: torch.load(pt, mmap=True),
        },
        rounds,
    )
