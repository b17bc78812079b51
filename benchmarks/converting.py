"""Converting a checkpoint beside copying it, hashing it, and loading and saving it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from typing import TYPE_CHECKING

import data
from measuring import OURS, Row, compared, keep_busy

if TYPE_CHECKING:
    from pathlib import Path


def sha256(path: Path) -> None:
    """Hash a file as fast as Python can: in memory that is used again."""
    digest, memory = hashlib.sha256(), memoryview(bytearray(1 << 18))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(memory):
            digest.update(memory[:count])


def measure(folder: Path, *, quick: bool) -> list[Row]:
    import safetensors.torch
    import torch

    import hatch_wheelweights

    megabytes, rounds = (20, 3) if quick else (500, 9)
    arrays = data.state_dict(megabytes)
    pt, st = data.write_pt(folder / "w.pt", arrays), data.write_safetensors(folder / "w.safetensors", arrays)
    del arrays
    record, copy, other = folder / "w.mpk", folder / "copy", folder / "other.safetensors"

    def contenders(source: Path) -> dict[str, object]:
        return {
            OURS: lambda: hatch_wheelweights.convert(source, record),
            "cp": lambda: subprocess.run(["cp", "--reflink=never", source, copy], check=True),
            "SHA-256 alone": lambda: sha256(source),
        }

    def fresh() -> None:
        for output in (record, copy, other):
            output.unlink(missing_ok=True)
        os.sync()

    rows: list[Row] = []
    for source in (pt, st):
        these = contenders(source)
        if source is pt:
            these["torch.load + safetensors.save_file"] = lambda: safetensors.torch.save_file(torch.load(pt), other)
        rows += judged(compared(f"convert {source.suffix}, {megabytes} MB, warm", these, rounds, before=fresh))
    work = f"convert .pt, {megabytes} MB, warm, over a file that is there"
    rows += judged(compared(work, contenders(pt), rounds, before=os.sync))
    busy = keep_busy()
    try:
        for source in (pt, st):
            work = f"convert {source.suffix}, {megabytes} MB, warm, one processor kept busy"
            rows += judged(compared(work, contenders(source), rounds, before=fresh))
    finally:
        busy.kill()
        busy.wait()
    return rows


def judged(rows: list[Row]) -> list[Row]:
    """Note with ours how it compares with the larger of copying and hashing, and with both."""
    ours, cp, sha = rows[:3]
    note = (
        f"{ours.median / max(cp.median, sha.median):.2f} x the longer of cp and SHA-256, "
        f"{ours.median / (cp.median + sha.median):.2f} x both"
    )
    return [Row(**{**ours.plain, "note": note}), *rows[1:]]
