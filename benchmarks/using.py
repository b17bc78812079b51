"""What a program does with a record once it is open: hand it to torch or jax, bind it, run it in half precision."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import data
import numpy as np
from measuring import OURS, Row, compared

from wheelweights import nn

if TYPE_CHECKING:
    from pathlib import Path

WIDE = 4096


@dataclass
class Classifier:
    """The linear layers of AlexNet, which are nearly all of its parameters."""

    first: nn.Linear
    second: nn.Linear
    third: nn.Linear

    @classmethod
    def init(cls) -> Classifier:
        sizes = [(9216, WIDE), (WIDE, WIDE), (WIDE, 1000)]
        return cls(*(nn.Linear.init(*size) for size in sizes))

    def __call__(self, x: Any) -> Any:
        return self.third(nn.relu(self.second(nn.relu(self.first(x)))))


def measure(folder: Path, *, quick: bool) -> list[Row]:
    import torch

    import hatch_wheelweights
    import wheelweights
    import wheelweights.torch

    megabytes, rounds = (20, 3) if quick else (500, 7)
    arrays = data.state_dict(megabytes)
    pt, mpk = data.write_pt(folder / "w.pt", arrays), folder / "w.mpk"
    hatch_wheelweights.convert(pt, mpk)
    rows = compared(
        f"{megabytes} MB as tensors of torch, warm",
        {
            OURS: lambda: wheelweights.torch.state_dict(wheelweights.open_record(mpk)),
            "torch.load(mmap=True)": lambda: torch.load(pt, mmap=True),
            "torch.load": lambda: torch.load(pt),
        },
        rounds,
    )
    rows += loaded(arrays, mpk, pt, rounds)
    if importlib.util.find_spec("jax"):
        rows += jax_rows(mpk, megabytes, rounds)
    else:
        print("jax is not installed: its rows are missing", file=sys.stderr)
    rows += bound(folder, rounds)
    return rows


def loaded(arrays: dict[str, np.ndarray], mpk: Path, pt: Path, rounds: int) -> list[Row]:
    """Copy the weights into a model of torch that exists, as `load_state_dict` does without `assign`."""
    import torch

    import wheelweights
    import wheelweights.torch

    model = torch.nn.Module()
    for key, array in arrays.items():
        child = torch.nn.Module()
        child.weight = torch.nn.Parameter(torch.empty(array.shape))
        path, _, number = key.removesuffix(".weight").partition(".")
        if not hasattr(model, path):
            model.add_module(path, torch.nn.Module())
        getattr(model, path).add_module(number, child)
    return compared(
        "the same, copied into a model with load_state_dict, warm",
        {
            OURS: lambda: model.load_state_dict(wheelweights.torch.state_dict(wheelweights.open_record(mpk))),
            "torch.load(mmap=True)": lambda: model.load_state_dict(torch.load(pt, mmap=True)),
            "torch.load": lambda: model.load_state_dict(torch.load(pt)),
        },
        rounds,
    )


def jax_rows(mpk: Path, megabytes: int, rounds: int) -> list[Row]:
    import jax

    import wheelweights
    import wheelweights.jax

    record = wheelweights.open_record(mpk)
    return compared(
        f"{megabytes} MB as arrays of jax, warm",
        {
            OURS: lambda: wheelweights.jax.state_dict(record),
            "jax.device_put": lambda: {key: jax.device_put(array) for key, array in record.items()},
            "jax.numpy.array": lambda: {key: jax.numpy.array(array) for key, array in record.items()},
        },
        rounds,
    )


def bound(folder: Path, rounds: int) -> list[Row]:
    """Bind a model of 59 million parameters, and run it in half precision."""
    import torch

    import hatch_wheelweights
    import wheelweights as ww

    def modules() -> Any:
        t = torch.nn
        return t.ModuleDict(
            {"first": t.Linear(9216, WIDE), "second": t.Linear(WIDE, WIDE), "third": t.Linear(WIDE, 1000)}
        )

    pt = folder / "classifier.pt"
    torch.save(modules().state_dict(), pt)
    whole, half = folder / "whole.mpk", folder / "half.mpk"
    hatch_wheelweights.convert(pt, whole)
    hatch_wheelweights.convert(pt, half, precision="half")

    def on_meta() -> Any:
        with torch.device("meta"):
            made = modules()
        made.load_state_dict(torch.load(pt, mmap=True), assign=True)
        return made

    rows = compared(
        "a model of 59 million parameters from its file, warm",
        {
            OURS: lambda: ww.bind(Classifier.init, ww.open_record(whole)),
            "torch, meta device, mmap": on_meta,
            "torch, as most write it": lambda: modules().load_state_dict(torch.load(pt)),
        },
        rounds,
    )
    x = np.random.default_rng(0).standard_normal((1, 9216), np.float32)
    models = {
        "float32": ww.bind(Classifier.init, ww.open_record(whole)),
        "float16, bound with dtype=np.float32": ww.bind(Classifier.init, ww.open_record(half), dtype=np.float32),
        "float16 as it is": ww.bind(Classifier.init, ww.open_record(half)),
    }
    return rows + compared(
        "one forward pass of it", {name: lambda model=model: model(x) for name, model in models.items()}, rounds
    )
