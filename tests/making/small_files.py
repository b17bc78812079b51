"""Small files of the kinds that the command line reads, written into the current folder."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

import wheelweights as ww
from making.checkpoints import zip_checkpoint
from making.pickles import ordered_dict, pickled, state_dict, storage, tensor
from making.values import FLOATS

WHEEL = "demo-1.0-py3-none-any.whl"

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
    with zipfile.ZipFile(WHEEL, "w", compression) as wheel:
        for number in (1, 2):
            ww.write_record("member.mpk", {"w": np.arange(4.0, dtype=np.float32) * number})
            wheel.write("member.mpk", f"demo/{number}.mpk")
        wheel.writestr("demo-1.0.dist-info/RECORD", "")
    Path("member.mpk").unlink()


def hostile_checkpoints() -> None:
    """Write `flat.pt`, whose keys and a value are hostile, and `deep.pt`, which holds it under a hostile key."""
    state = ordered_dict({HOSTILE: tensor(), "tied": tensor(), f"{HOSTILE}s": HOSTILE})
    write("flat.pt", zip_checkpoint(pickled(state)))
    write("deep.pt", zip_checkpoint(pickled({HOSTILE: state, "n": 1})))
