"""The adapters where their frameworks are missing, and jax where it is installed. With torch: tests/oracle."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import wheelweights.jax
import wheelweights.torch
from wheelweights.errors import DtypeError, WheelweightsError
from wheelweights.record import Record, open_record, write_record

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


@pytest.fixture
def record(tmp_path: Path) -> Record:
    arrays: dict[str, Any] = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array(7)}
    write_record(tmp_path / "r.mpk", arrays, source_keys={"a.weight": "b.weight"})
    return open_record(tmp_path / "r.mpk")


@pytest.mark.parametrize("adapter", [wheelweights.torch, wheelweights.jax], ids=["torch", "jax"])
def test_says_that_the_framework_is_not_installed(
    record: Record, adapter: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = adapter.__name__.rpartition(".")[2]
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, f"{name}.numpy", None)
    with pytest.raises(WheelweightsError) as caught:
        adapter.state_dict(record)
    assert str(caught.value) == (f"{name} is not installed\n  Install it: pip install {name}")


def test_importing_an_adapter_imports_no_framework() -> None:
    code = "import sys, wheelweights.torch, wheelweights.jax; print([n for n in ('torch', 'jax') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_gives_jax_arrays(record: Record) -> None:
    jax = pytest.importorskip("jax")
    arrays = wheelweights.jax.state_dict(record)
    assert list(arrays) == ["a.weight", "steps"]
    assert isinstance(arrays["a.weight"], jax.Array)
    assert np.array_equal(arrays["a.weight"], record["a.weight"])
    assert int(arrays["steps"]) == 7
    assert list(wheelweights.jax.state_dict(record, source_keys=True)) == ["b.weight", "steps"]


SHARED = ["bool", "int8", "int32", "uint8", "float16", "bfloat16", "float32", "complex64", "float8_e4m3fn"]


@pytest.mark.parametrize("mmap", [True, False])
def test_jax_shares_the_memory_of_the_record(tmp_path: Path, mmap: bool) -> None:
    jax = pytest.importorskip("jax")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    if jax.default_backend() != "cpu":
        pytest.skip("needs the CPU as jax's default device")
    arrays = {name: np.ones((3, 5)).astype(getattr(ml_dtypes, name, None) or name) for name in SHARED}
    arrays["tied"] = arrays["float32"]
    write_record(tmp_path / "r.mpk", arrays)
    record = open_record(tmp_path / "r.mpk", mmap=mmap)
    taken = wheelweights.jax.state_dict(record)
    copied = [key for key in arrays if taken[key].unsafe_buffer_pointer() != record[key].ctypes.data]
    assert not copied
    record.close()
    del record
    assert all(np.array_equal(taken[key], arrays[key]) for key in arrays)


DONATED = """
import jax, numpy as np
import wheelweights as ww, wheelweights.jax
record = ww.open_record("r.mpk")
params = wheelweights.jax.state_dict(record)
step = jax.jit(lambda params: {key: value.at[0].set(7) * 2 for key, value in params.items()}, donate_argnums=0)
for _ in range(3):
    params = step(params)
assert float(params["w"][0, 0]) == 14, params["w"][0, 0]
assert all((record[key] == 1).all() for key in record), "the record's arrays have changed"
record.verify()
"""


def test_donating_what_jax_shares_writes_to_nothing(tmp_path: Path) -> None:
    """A write to the map, which is read-only, would end the process."""
    pytest.importorskip("jax")
    write_record(tmp_path / "r.mpk", {"w": np.ones((256, 256), np.float32), "b": np.ones(256, np.float32)})
    before = (tmp_path / "r.mpk").read_bytes()
    command = [sys.executable, "-W", "ignore", "-c", DONATED]  # jax may warn that it cannot use what is donated
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "r.mpk").read_bytes() == before


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float16", "bool", "int8"])
def test_keeps_the_dtypes_that_jax_has(tmp_path: Path, name: str) -> None:
    pytest.importorskip("jax")
    ml_dtypes = pytest.importorskip("ml_dtypes")
    values = np.array([1, 0, 1]).astype(getattr(ml_dtypes, name, None) or name)
    write_record(tmp_path / "r.mpk", {"x": values})
    taken = wheelweights.jax.state_dict(open_record(tmp_path / "r.mpk"))["x"]
    assert taken.dtype == values.dtype
    assert np.array_equal(taken, values)


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        (np.array([2**31 - 1, -(2**31)]), True),
        (np.array([2**31]), False),
        (np.array([2**32 - 1], np.uint64), True),
        (np.array([2**32], np.uint64), False),
    ],
    ids=str,
)
def test_rejects_integers_that_jax_would_cut_off(tmp_path: Path, values: Any, fits: bool) -> None:
    pytest.importorskip("jax")
    write_record(tmp_path / "r.mpk", {"x": values})
    record = open_record(tmp_path / "r.mpk")
    if fits:
        assert wheelweights.jax.state_dict(record)["x"].tolist() == values.tolist()
        return
    with pytest.raises(DtypeError) as caught:
        wheelweights.jax.state_dict(record)
    name, number = values.dtype.name.replace("64", "32"), values[0]
    assert str(caught.value) == (
        f"tensor `x`: expected values of {name}, found {number} to {number}\n"
        '  Enable 64-bit arrays first: jax.config.update("jax_enable_x64", True)'
    )
