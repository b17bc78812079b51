"""Make the records of version 1 in this folder. They must open for ever: do not make them again.

They were made twice, before the first release: the second time when the header got its checksum.

`contents` says what each of them holds; the test compares.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from wheelweights import write_record
from wheelweights.dtypes import DTYPES, numpy_dtype

HERE = Path(__file__).parent


def contents() -> dict[str, dict[str, Any]]:
    """Return the arguments of `write_record` for every file."""
    shared = np.arange(6, dtype=np.float32).reshape(2, 3)
    return {
        "dtypes": {"tensors": {name: _codes(name) for name in DTYPES}},
        "shapes": {
            "tensors": {
                "scalar": np.array(2.5),
                "none": np.empty((0,), np.float32),
                "none.of.them": np.empty((3, 0, 2), np.int8),
                "one": np.array([7], np.int64),
                "59 bytes": np.arange(59, dtype=np.uint8),
                "60 bytes": np.arange(60, dtype=np.uint8),
                "rank 8": np.arange(2, dtype=np.int16).reshape((1,) * 7 + (2,)),
            }
        },
        "ties": {"tensors": {"encoder": shared, "other": shared + 1, "decoder": shared, "turned": shared.T}},
        "names": {
            "tensors": {"conv.0.weight": shared, "": shared + 1, "línea\n\x1b\N{PILE OF POO}": shared + 2},
            "metadata": {
                "generator": "hatch-wheelweights 0.1.0",
                "source": {"name": "names.pt", "sha256": "0" * 64, "format": "pytorch-zip"},
                "options": {"precision": "half", "key-remap": [{"pattern": "a", "replacement": "b"}]},
                "config": {"sizes": [1, -1, 2**63, 0.1], "deep": {"er": [None, True, False, ""]}},
                "user": {"license": "MIT", "größe": "ä"},
            },
            "source_keys": {"conv.0.weight": "module.conv.3.weight", "": "x", "unused": "y"},
        },
        "nothing": {"tensors": {}},
    }


def _codes(name: str) -> np.ndarray[Any, Any]:
    """Return sixteen elements of bytes that count up; of bools, 0 and 1 in turns."""
    size = 16 * DTYPES[name].itemsize
    raw = np.arange(size, dtype=np.uint8) % 2 if name == "bool" else np.arange(128 - size // 2, 128 + size // 2)
    return raw.astype(np.uint8).view(numpy_dtype(name)).reshape(4, 4)


def main() -> None:
    for name, arguments in contents().items():
        write_record(HERE / f"v1_{name}.mpk", **arguments)


if __name__ == "__main__":
    main()
