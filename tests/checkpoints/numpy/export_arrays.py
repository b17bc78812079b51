"""Make the pickles of this folder: run it with each version of numpy.

    python -m pip install numpy==2.4.6 && python export_arrays.py       # Python 3.11 or later
    python -m pip install numpy==1.26.4 && python export_arrays.py

Protocol 5 writes arrays by `_frombuffer`; since numpy 2.4, those of any order of axes. The tests read only the files.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ARRAYS = {
    "c": np.arange(6, dtype="<f4").reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype="<i2").reshape(2, 3)),
    "axes": np.arange(24, dtype="<u1").reshape(2, 3, 4).transpose(1, 0, 2),
    "strided": np.arange(12, dtype="<f8").reshape(3, 4)[:, ::2],
    "big": np.arange(4, dtype=">i4"),
    "none": np.zeros((0, 2), "<f4"),
    "one": np.array(2.5, "<f2"),
    "complex": np.array([1 + 2j], "<c8"),
}

if __name__ == "__main__":
    for protocol in (2, 5):
        path = HERE / f"numpy-{np.__version__}-protocol-{protocol}.pkl"
        path.write_bytes(pickle.dumps(ARRAYS, protocol))
