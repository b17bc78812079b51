"""The runtime as its users get it: its built wheel, numpy and msgpack in an environment, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

import wheelweights as ww
from hatch_wheelweights import convert
from looking.closeness import assert_close
from making.projects import CONV2D
from wheelweights.dtypes import DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., Any]

pytestmark = pytest.mark.slow

RECORDS = Path(__file__).parents[1] / "records"
ML_DTYPES = [name for name in DTYPES if DTYPES[name].numpy is None]


@pytest.fixture(scope="module")
def python(offline: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of the environment."""
    root = tmp_path_factory.mktemp("alone") / "environment"
    venv.create(root)
    found = root / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install: list[str | Path] = [sys.executable, "-m", "uv", "pip", "install", "--python", found, "wheelweights"]
    subprocess.run(install, env=offline, check=True, capture_output=True)
    return found


@pytest.fixture
def run(python: Path, tmp_path: Path) -> Run:
    """Run a program there with `ww`, `nn` and `np` imported; return the JSON that it prints."""

    def run_it(program: str, *arguments: object) -> Any:
        start = "import json, sys\nimport numpy as np\nimport wheelweights as ww\nfrom wheelweights import nn\n"
        command: list[str | Path] = [python, "-I", "-W", "error", "-c", start + program, *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return run_it


def needs(dtype: str) -> str:
    return (
        f"numpy has no `{dtype}` of its own\n"
        "  Install wheelweights[ml-dtypes], or open with widen=True to get float32 copies (exact)."
    )


def test_needs_numpy_and_msgpack_only(run: Run) -> None:
    program = """
import importlib.metadata
print(json.dumps(sorted(one.name for one in importlib.metadata.distributions())))
"""
    assert run(program) == ["msgpack", "numpy", "wheelweights"]


def test_opens_a_golden_record_and_binds_and_runs_a_layer(run: Run) -> None:
    program = """
with ww.open_record(sys.argv[1]) as record:
    record.verify()
    layer = ww.bind(nn.Linear, record, prefix="conv.0")
    print(json.dumps([list(record), layer(np.array([[1, 10, 100]], np.float32)).tolist()]))
"""
    assert run(program, RECORDS / "v1_names.mpk") == [
        ["conv.0.weight", "", "línea\n\x1b\N{PILE OF POO}"],
        [[210.0, 543.0]],
    ]


def test_gives_torchs_output(run: Run, tmp_path: Path) -> None:
    expected = json.loads((CONV2D / "expected.json").read_text())
    convert(CONV2D / "conv2d.pt", tmp_path / "conv2d.mpk")
    (tmp_path / "input.json").write_text(json.dumps(expected["input"]))
    program = """
from dataclasses import dataclass

@dataclass
class Net:
    conv1: nn.Conv2d
    conv2: nn.Conv2d

net = ww.bind(Net, ww.open_record("conv2d.mpk"))
with open("input.json") as file:
    image = np.array(json.load(file), np.float32)
print(json.dumps(net.conv2(nn.relu(net.conv1(image))).tolist()))
"""
    assert_close(np.float32(run(program)), np.float32(expected["output"]))


def test_gives_every_dtype_that_numpy_has_beside_those_that_it_has_not(run: Run) -> None:
    program = """
record = ww.open_record(sys.argv[1])
record.verify()
print(json.dumps({key: record[key].tobytes().hex() for key in record if key not in sys.argv[2:]}))
"""
    golden = ww.open_record(RECORDS / "v1_dtypes.mpk")
    assert run(program, golden.path, *ML_DTYPES) == {
        key: golden[key].tobytes().hex() for key in DTYPES if key not in ML_DTYPES
    }


def test_says_what_a_tensor_of_another_dtype_needs(run: Run) -> None:
    program = """
record = ww.open_record(sys.argv[1])
said = {}
for key in sys.argv[2:]:
    try:
        record[key]
    except ww.DtypeError as error:
        said[key] = str(error)
print(json.dumps(said))
"""
    path = RECORDS / "v1_dtypes.mpk"
    assert run(program, path, *ML_DTYPES) == {key: f"{path}: tensor `{key}`: {needs(key)}" for key in ML_DTYPES}


def test_widens_tensors_of_other_dtypes_exactly(run: Run) -> None:
    program = """
record = ww.open_record(sys.argv[1], widen=True)
print(json.dumps({key: [record[key].dtype.name, record[key].tobytes().hex()] for key in sys.argv[2:]}))
"""
    golden = ww.open_record(RECORDS / "v1_dtypes.mpk")
    widened = run(program, golden.path, *ML_DTYPES)
    assert list(widened) == ML_DTYPES
    for key, (dtype, values) in widened.items():
        assert dtype == "float32"
        expected = golden[key].astype(np.float32)
        np.testing.assert_array_equal(np.frombuffer(bytes.fromhex(values), np.float32), expected.ravel())


def test_a_model_in_bfloat16_runs_widened_only(run: Run, tmp_path: Path) -> None:
    weight = np.array([[1.5, -2], [0.25, 3]], ml_dtypes.bfloat16)
    ww.write_record(tmp_path / "model.mpk", {"weight": weight, "bias": np.ones(2, np.float32)})
    program = """
try:
    ww.bind(nn.Linear, ww.open_record("model.mpk"))
except ww.WheelweightsError as error:
    said = str(error)
layer = ww.bind(nn.Linear, ww.open_record("model.mpk", widen=True))
print(json.dumps([said, layer(np.array([2, 1], np.float32)).tolist()]))
"""
    assert run(program) == [f"model.mpk: tensor `weight`: {needs('bfloat16')}", [2.0, 4.5]]
