"""Small files of the kinds that the command line reads, written into the current folder."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import wheelweights as ww
from making.checkpoints import zip_checkpoint
from making.pickles import ordered_dict, pickled, state_dict, storage, tensor
from making.values import FLOATS

if TYPE_CHECKING:
    from collections.abc import Mapping

WHEEL = "demo-1.0-py3-none-any.whl"
LISTING = "demo-1.0.dist-info/RECORD"

# A name that wants to colour a terminal, end a table, run a script and turn text around, and how it may be shown
HOSTILE = "\x1b[31m</td><script>alert(1)</script>\u202e[bold]"
HOSTILE_SHOWN = r"\x1b[31m</td><script>alert(1)</script>\u202e[bold]"


def write(file: str, content: bytes) -> None:
    """Write a file."""
    Path(file).write_bytes(content)


def small_checkpoint() -> None:
    """Write `model.pt`: four keys, a gap in the layers, a tie, and a value that is not a tensor."""
    tensors = {
        "layers.0.w": tensor(size=(2, 2), stride=(2, 1)),
        "layers.2.w": tensor(storage("1", 2, "LongStorage"), size=(2,)),
        "tied": tensor(size=(2, 2), stride=(2, 1)),
        "step": 12,
    }
    write("model.pt", zip_checkpoint(state_dict(**tensors), {"0": FLOATS, "1": bytes(16)}))


def nested_checkpoint() -> None:
    """Write `nested.pt`: a state_dict under `model`, and a configuration, part of which JSON cannot hold."""
    config = {"width": 8, "name": "tiny", "shape": (1, None)}
    tree = {"model": ordered_dict({"w": tensor()}), "epoch": 3, "config": {"net": config, "lr": float("nan")}}
    write("nested.pt", zip_checkpoint(pickled(tree)))


def small_wheel(compression: int = zipfile.ZIP_STORED) -> None:
    """Write `WHEEL`, with the records `demo/1.mpk` and `demo/2.mpk`."""
    files = {f"demo/{number}.mpk": small_record(number) for number in (1, 2)}
    write(WHEEL, wheel(files, compression))


def small_record(factor: int = 1) -> bytes:
    """Return a record of four floats."""
    ww.write_record("member.mpk", {"w": np.arange(4.0, dtype=np.float32) * factor})
    content = Path("member.mpk").read_bytes()
    Path("member.mpk").unlink()
    return content


def wheel(
    files: Mapping[str, bytes],
    compression: int | Mapping[str, int] = zipfile.ZIP_STORED,
    *,
    listing: str | bytes | None = None,
) -> bytes:
    """Return a wheel of these files, RECORD last; `compression` is that of all, or of some by their names.

    `listing` is another RECORD than the true one.
    """
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in {**files, LISTING: listing_of(files) if listing is None else listing}.items():
            member = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            member.external_attr = 0o100644 << 16
            chosen = compression if isinstance(compression, int) else compression.get(name, zipfile.ZIP_STORED)
            archive.writestr(member, content, chosen)
    return out.getvalue()


def listing_of(files: Mapping[str, bytes]) -> str:
    """Return the true RECORD of these files."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.writerow([name, f"sha256={digest}", len(content)])
    rows.writerow([LISTING, "", ""])
    return text.getvalue()


def hostile_checkpoints() -> None:
    """Write `flat.pt`, whose keys and a value are hostile, and `deep.pt`, which holds it under a hostile key."""
    state = ordered_dict({HOSTILE: tensor(), "tied": tensor(), f"{HOSTILE}s": HOSTILE})
    write("flat.pt", zip_checkpoint(pickled(state)))
    write("deep.pt", zip_checkpoint(pickled({HOSTILE: state, "n": 1})))
