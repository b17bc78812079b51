"""How long it takes to make and to open a record, beside the peers: cp, torch, safetensors.

Run: python benchmarks/conversion.py [MEGABYTES]

Makes a state_dict of 148 float32 tensors with torch, saves it as .pt and .safetensors, and measures, several times in
turn, in one process: converting against copying the file with cp, and opening the record against the peers' ways to
open. Prints medians and ratios. Needs torch and safetensors.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7
TENSORS = 148


def measured(actions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Run all actions round by round, each time in another order, and return the median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(ROUNDS):
        for name, action in random.sample(list(actions.items()), len(actions)):
            os.sync()  # or one action would wait for what another has left to be written
            begin = time.perf_counter()
            action()
            seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def show(title: str, results: dict[str, float], ours: str) -> None:
    print(f"\n{title}")
    for name, value in results.items():
        print(f"  {name:44} {value * 1000:10.2f} ms   {value / results[ours]:8.2f} x")


def main() -> None:
    import safetensors.numpy
    import safetensors.torch
    import torch

    import hatch_wheelweights
    import wheelweights

    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with tempfile.TemporaryDirectory() as folder:
        pt, st, record = (Path(folder, f"model.{suffix}") for suffix in ("pt", "safetensors", "mpk"))
        count = (megabytes << 20) // 4 // TENSORS
        tensors = {f"layers.{i}.weight": torch.randn(count) for i in range(TENSORS)}
        torch.save(tensors, pt)
        safetensors.torch.save_file(tensors, st)
        del tensors
        hatch_wheelweights.convert(pt, record)
        copy = Path(folder, "copy")
        conversions = {
            "cp": lambda: subprocess.run(["cp", "--reflink=never", pt, copy], check=True),
            "convert .pt": lambda: hatch_wheelweights.convert(pt, record),
            "convert .safetensors": lambda: hatch_wheelweights.convert(st, record),
            "torch.load + safetensors.save_file": lambda: safetensors.torch.save_file(torch.load(pt), copy),
        }
        print(
            f"{megabytes} MB in {TENSORS} tensors, {os.cpu_count()} processors, "
            f"medians of {ROUNDS} rounds, warm page cache"
        )
        show("Make", measured(conversions), "cp")
        opening = {
            "wheelweights.open_record": lambda: wheelweights.open_record(record),
            "... and every tensor as an array": lambda: dict(wheelweights.open_record(record)),
            "torch.load(mmap=True)": lambda: torch.load(pt, mmap=True),
            "torch.load": lambda: torch.load(pt),
            "safetensors.numpy.load_file": lambda: safetensors.numpy.load_file(st),
            "safetensors.torch.load_file": lambda: safetensors.torch.load_file(st),
            "hatch_wheelweights.open_checkpoint": lambda: hatch_wheelweights.open_checkpoint(pt).state_dict(),
        }
        show("Open", measured(opening), "wheelweights.open_record")


if __name__ == "__main__":
    main()
