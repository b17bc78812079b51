"""Opening a record beside what else opens weights, with and without the page cache, and in a process of its own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import data
import numpy as np
from measuring import OURS, Row, compared, evict, in_a_process, whole_process

if TYPE_CHECKING:
    from pathlib import Path

COUNTED = """
import sys, time
def read():
    return int(open("/proc/self/io").read().split("read_bytes:")[1].split()[0])
{prepare}
before, begin = read(), time.perf_counter()
opened = {open}
seconds = time.perf_counter() - begin
print(seconds, read() - before)
"""
# what is imported before the clock runs, and what opens the file
WAYS = {
    OURS: ("import wheelweights; wheelweights.open_record", "wheelweights.open_record(sys.argv[1])", "mpk"),
    "torch.load(mmap=True)": ("import torch", "torch.load(sys.argv[1], mmap=True)", "pt"),
    "safetensors.safe_open": (
        "from safetensors import safe_open",
        "safe_open(sys.argv[1], 'np')",
        "safetensors",
    ),
    "safetensors.torch.load_file": (
        "import safetensors.torch",
        "safetensors.torch.load_file(sys.argv[1])",
        "safetensors",
    ),
    "safetensors.numpy.load_file": (
        "import safetensors.numpy",
        "safetensors.numpy.load_file(sys.argv[1])",
        "safetensors",
    ),
    "torch.load": ("import torch", "torch.load(sys.argv[1])", "pt"),
    "numpy.load (npz), all arrays": ("import numpy", "dict(numpy.load(sys.argv[1]))", "npz"),
    "onnxruntime.InferenceSession": (
        "import onnxruntime",
        "onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])",
        "onnx",
    ),
}


def measure(folder: Path, *, quick: bool) -> list[Row]:
    import onnxruntime
    import safetensors
    import torch

    import hatch_wheelweights
    import wheelweights

    megabytes, rounds = (20, 3) if quick else (500, 9)
    arrays = data.state_dict(megabytes)
    files = {
        "pt": data.write_pt(folder / "w.pt", arrays),
        "safetensors": data.write_safetensors(folder / "w.safetensors", arrays),
        "onnx": data.write_onnx(folder / "w.onnx", arrays),
        "npz": folder / "w.npz",
        "mpk": folder / "w.mpk",
    }
    np.savez(files["npz"], **arrays)
    hatch_wheelweights.convert(files["pt"], files["mpk"])
    mpk, pt, st = (str(files[kind]) for kind in ("mpk", "pt", "safetensors"))

    counts: dict[str, list[int]] = {name: [] for name in WAYS}

    def cold(name: str) -> float:
        prepare, opens, kind = WAYS[name]
        seconds, count = in_a_process(COUNTED.format(prepare=prepare, open=opens), files[kind])
        counts[name].append(count)
        return seconds

    found = compared(
        f"open {megabytes} MB, cold page cache, a process each",
        {name: functools.partial(cold, name) for name in WAYS},
        max(3, rounds // 3),
        before=lambda: evict(*files.values()),
        warm=False,
    )
    rows = [Row(**{**row.plain, "note": f"{max(counts[row.name]) / 1e6:,.1f} MB read"}) for row in found]

    for file in files.values():
        file.read_bytes()
    rows += compared(
        f"open {megabytes} MB, warm",
        {
            OURS: lambda: wheelweights.open_record(mpk),
            "torch.load(mmap=True)": lambda: torch.load(pt, mmap=True),
            "safetensors.safe_open": lambda: safetensors.safe_open(st, "np"),
            "safetensors.torch.load_file": lambda: __import__("safetensors.torch").torch.load_file(st),
            "safetensors.numpy.load_file": lambda: __import__("safetensors.numpy").numpy.load_file(st),
            "torch.load": lambda: torch.load(pt),
            "numpy.load (npz), all arrays": lambda: dict(np.load(files["npz"])),
            "onnxruntime.InferenceSession": lambda: onnxruntime.InferenceSession(
                files["onnx"], providers=["CPUExecutionProvider"]
            ),
        },
        rounds,
    )
    rows += compared(
        f"open {megabytes} MB, warm, and sum every tensor",
        {
            OURS: lambda: [array.sum() for array in wheelweights.open_record(mpk).values()],
            "torch.load(mmap=True)": lambda: [tensor.numpy().sum() for tensor in torch.load(pt, mmap=True).values()],
            "torch.load": lambda: [tensor.numpy().sum() for tensor in torch.load(pt).values()],
            "safetensors.numpy.load_file": lambda: [
                array.sum() for array in __import__("safetensors.numpy").numpy.load_file(st).values()
            ],
        },
        rounds,
    )
    rows += compared(
        f"a whole process that opens {megabytes} MB, warm",
        {
            name: functools.partial(whole_process, f"import sys\n{prepare}\n{opens}", files[kind])
            for name, (prepare, opens, kind) in WAYS.items()
        },
        max(3, rounds // 3),
        warm=False,
    )
    return rows
