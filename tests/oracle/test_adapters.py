"""Records as torch tensors, and back into the torch models they came from."""

from __future__ import annotations

import gc
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import msgpack
import numpy as np
import pytest
import torch

import wheelweights.torch
from wheelweights.dtypes import DTYPES, numpy_dtype
from wheelweights.errors import DtypeError, RecordError
from wheelweights.record import Record, open_record, write_record


def record_of(path: Path, arrays: dict[str, Any], **options: Any) -> Record:
    write_record(path, arrays, **options)
    return open_record(path)


@pytest.mark.parametrize("name", DTYPES)
def test_gives_every_dtype_as_torchs_own(tmp_path: Path, name: str) -> None:
    codes = np.arange(192, dtype=np.uint8) & (1 if name == "bool" else 255)
    array = codes.view(numpy_dtype(name)).reshape(2, -1)
    tensor = wheelweights.torch.state_dict(record_of(tmp_path / "r.mpk", {"x": array}))["x"]
    assert tensor.dtype is getattr(torch, name)
    assert tuple(tensor.shape) == array.shape
    assert tensor.contiguous().view(torch.uint8).numpy().tobytes() == codes.tobytes()
    if name.startswith(("bfloat", "float8")):
        assert np.array_equal(tensor.float().numpy(), array.astype(np.float32), equal_nan=True)


def test_needs_no_ml_dtypes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = record_of(tmp_path / "r.mpk", {"x": np.array([1.5, -2.5], ml_dtypes.bfloat16)})
    numpy_dtype.cache_clear()
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(DtypeError, match="numpy has no `bfloat16` of its own"):
        record["x"]
    assert wheelweights.torch.state_dict(record)["x"].tolist() == [1.5, -2.5]


def test_lies_on_a_map_of_the_file_and_keeps_it_alive(tmp_path: Path) -> None:
    record = record_of(tmp_path / "r.mpk", {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "": np.float64(2.5)})
    tensors = wheelweights.torch.state_dict(record)
    assert maps_at(tensors["x"].data_ptr()) == [("rw-p", str(tmp_path / "r.mpk"))]
    assert maps_at(record["x"].ctypes.data) == [("r--s", str(tmp_path / "r.mpk"))]
    assert tensors["x"].device.type == "cpu"
    record.close()
    del record
    gc.collect()
    assert tensors["x"].sum().item() == 15
    assert tensors[""].shape == ()


def maps_at(address: int) -> list[tuple[str, str]]:
    """Return protection and file of what is mapped at an address, as Linux tells it."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("needs /proc/self/maps")
    found: list[tuple[str, str]] = []
    for line in maps.read_text().splitlines():
        span, protection, _, _, _, *name = line.split(maxsplit=5)
        first, last = (int(end, 16) for end in span.split("-"))
        found += [(protection, *name)] if first <= address < last else []  # type: ignore[list-item]
    return found


# Writing: with torch no tensor is read-only. A fault would end the process, so another one does it


TRAINED = """
import hashlib, sys
import numpy as np, torch
import wheelweights as ww, wheelweights.torch
record = {opened}
before = {{key: record[key].copy() for key in record}}
nn = torch.nn
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(288, 2))
model.load_state_dict(wheelweights.torch.state_dict(record, source_keys=True), assign=True)
others = wheelweights.torch.state_dict(record)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
for _ in range(2):
    model(torch.randn(4, 3, 8, 8)).square().sum().backward()
    optimizer.step()
changed = model.state_dict()
assert all(not np.array_equal(changed[key].numpy(), before[key]) for key in record), "nothing was trained"
assert all(np.array_equal(record[key], before[key]) for key in record), "the record's arrays have changed"
assert all(np.array_equal(others[key].numpy(), before[key]) for key in record), "other tensors have changed"
assert not any(record[key].flags.writeable for key in record)
record.verify()
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package whose record is that of a small convolutional network."""
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Flatten(), torch.nn.Linear(288, 2)
    )
    model.train()(torch.randn(4, 3, 8, 8))
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    write_record(tmp_path / "shop" / "m.mpk", {key: value.numpy() for key, value in model.state_dict().items()})
    return tmp_path


def zipped(site: Path, method: int, shift: int) -> Path:
    """Put the package into an archive, where its record begins at this place modulo 64."""
    with zipfile.ZipFile(site / "shop.zip", "w", method) as archive:
        archive.writestr("shop/__init__.py", "")
        info = zipfile.ZipInfo("shop/m.mpk")
        info.compress_type = method
        padding = (shift - (archive.start_dir + 30 + len(info.filename) + 4)) % 64
        info.extra = b"\xff\xff" + padding.to_bytes(2, "little") + bytes(padding)
        archive.writestr(info, (site / "shop" / "m.mpk").read_bytes())
    for file in (site / "shop").iterdir():
        file.unlink()
    (site / "shop").rmdir()
    return site / "shop.zip"


LOADED = "ww.load('shop', 'm.mpk'{})"


@pytest.mark.parametrize(
    ("opened", "archive"),
    [
        pytest.param("ww.open_record('shop/m.mpk')", None, id="mapped"),
        pytest.param("ww.open_record('shop/m.mpk', mmap=False)", None, id="in memory"),
        pytest.param(LOADED.format(""), (zipfile.ZIP_STORED, 0), id="stored in an archive"),
        pytest.param(LOADED.format(""), (zipfile.ZIP_STORED, 3), id="stored at an odd place"),
        pytest.param(LOADED.format(""), (zipfile.ZIP_DEFLATED, 0), id="deflated"),
        pytest.param(LOADED.format(", mmap=False"), (zipfile.ZIP_STORED, 0), id="stored, in memory"),
    ],
)
def test_a_model_on_these_tensors_is_trained_and_harms_nothing(
    package: Path, opened: str, archive: tuple[int, int] | None
) -> None:
    file = zipped(package, *archive) if archive else package / "shop" / "m.mpk"
    before = file.read_bytes()
    code = f"import sys; sys.path[:0] = ['shop.zip', '.']\n{TRAINED.format(opened=opened)}"
    command = [sys.executable, "-W", "ignore::RuntimeWarning", "-c", code]
    done = subprocess.run(command, cwd=package, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert file.read_bytes() == before


def test_a_write_to_a_tied_tensor_is_seen_in_the_other(tmp_path: Path) -> None:
    shared = np.ones(3, np.float32)
    record = record_of(tmp_path / "r.mpk", {"a": shared, "b": shared, "c": shared.copy()})
    tensors = wheelweights.torch.state_dict(record)
    tensors["a"].add_(1)
    assert [tensors[key].tolist() for key in "abc"] == [[2, 2, 2], [2, 2, 2], [1, 1, 1]]
    assert record["a"].tolist() == [1, 1, 1]
    assert wheelweights.torch.state_dict(record)["a"].tolist() == [1, 1, 1]


def test_a_file_that_was_replaced_meanwhile_gives_no_other_weights(tmp_path: Path) -> None:
    record = record_of(tmp_path / "r.mpk", {"x": np.ones(3, np.float32)})
    write_record(tmp_path / "new.mpk", {"x": np.zeros(3, np.float32)})
    (tmp_path / "new.mpk").replace(tmp_path / "r.mpk")
    tensor = wheelweights.torch.state_dict(record)["x"]
    assert tensor.add_(1).tolist() == [2, 2, 2]
    assert record["x"].tolist() == [1, 1, 1]


def test_the_tensors_of_burn_can_be_written_to(tmp_path: Path) -> None:
    tensor = {"bytes": np.arange(5.0).tobytes(), "shape": [5], "dtype": "F64"}
    (tmp_path / "b.mpk").write_bytes(msgpack.packb({"metadata": {}, "item": {"w": tensor}}))
    record = open_record(tmp_path / "b.mpk")
    assert wheelweights.torch.state_dict(record)["w"].add_(1).tolist() == [1, 2, 3, 4, 5]
    assert record["w"].tolist() == [0, 1, 2, 3, 4]


def test_tied_tensors_share_their_storage(tmp_path: Path) -> None:
    shared = np.ones(3, np.float32)
    record = record_of(
        tmp_path / "r.mpk", {"a": shared, "b": shared, "c": shared.copy(), "d": np.ones(0), "e": np.ones((0, 2))}
    )
    tensors = wheelweights.torch.state_dict(record)
    assert tensors["a"].untyped_storage().data_ptr() == tensors["b"].untyped_storage().data_ptr()
    assert tensors["a"].data_ptr() != tensors["c"].data_ptr()
    assert tensors["e"].shape == (0, 2)


def test_warns_of_nothing_and_leaves_other_warnings_on(tmp_path: Path) -> None:
    record = record_of(tmp_path / "r.mpk", {"x": np.ones(3, np.float32)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wheelweights.torch.state_dict(record)
        with pytest.raises(UserWarning):
            warnings.warn("another", UserWarning, stacklevel=1)


def test_goes_back_into_the_model_under_the_names_of_the_checkpoint(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.BatchNorm1d(4))
    arrays = {key: value.numpy() for key, value in model.state_dict().items()}
    renamed = {key.replace("2.", "1."): array for key, array in arrays.items()}
    source_keys = {key.replace("2.", "1."): key for key in arrays}
    record = record_of(tmp_path / "r.mpk", renamed, source_keys=source_keys)
    assert "1.running_mean" in wheelweights.torch.state_dict(record)
    other = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.BatchNorm1d(4))
    loaded = other.load_state_dict(wheelweights.torch.state_dict(record, source_keys=True))
    assert not loaded.missing_keys
    assert not loaded.unexpected_keys
    x = torch.randn(5, 3)
    assert torch.equal(model.eval()(x), other.eval()(x))
    other[0].weight.data.add_(1)  # load_state_dict copied: the map is not written to
    assert np.array_equal(record["0.weight"], arrays["0.weight"])


def test_copies_the_tensors_of_burn_that_are_not_aligned(tmp_path: Path) -> None:
    values = np.arange(5, dtype=np.float64)
    tensor = {"bytes": values.tobytes(), "shape": [5], "dtype": "F64"}
    for shift in range(8):
        path = tmp_path / f"{shift}.mpk"
        path.write_bytes(msgpack.packb({"metadata": {"float": "x" * shift}, "item": {"w": tensor}}))
        found = wheelweights.torch.state_dict(open_record(path))["w"]
        assert found.data_ptr() % 8 == 0
        assert found.tolist() == [0, 1, 2, 3, 4]


def test_the_modules_name_hides_nothing() -> None:
    assert wheelweights.torch is not torch
    assert Path(str(torch.__file__)).parent.name == "torch"


def test_bools_that_are_neither_0_nor_1_are_refused(tmp_path: Path) -> None:
    """torch takes any byte for a bool, and computes nonsense with most."""
    path = tmp_path / "model.mpk"
    write_record(path, {"mask": np.array([True, False, True])})
    content = path.read_bytes()
    at = content.rindex(b"\x01\x00\x01")
    path.write_bytes(content[:at] + b"\x02" + content[at + 1 :])
    with pytest.raises(RecordError, match="expected bytes 0 and 1 in a bool tensor, found 2"):
        wheelweights.torch.state_dict(open_record(path))
