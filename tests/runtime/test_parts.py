"""Records whose tensors are in distributions of their own: one record over all of them, or an error that says which."""

from __future__ import annotations

import copy
import importlib
import mmap
import pickle
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wheelweights as ww
from wheelweights import Record, RecordError, load, open_record, write_record
from wheelweights.errors import MissingRecordError
from wheelweights.formats import INTERRUPTED_BUILD
from wheelweights.golden import golden_path
from wheelweights.parts import Part, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

TIED = np.arange(6, dtype=np.float32).reshape(2, 3)
TENSORS: dict[str, Any] = {
    "a": TIED,
    "b": np.arange(4, dtype=np.int64),
    "c": TIED,
    "d": np.array([True, False]),
    "e": np.zeros((0, 2), np.float16),
}
SPLIT = {"a": 0, "b": 1, "c": 0, "d": 1, "e": 0}
INDEX = "expected distribution `big-weights-2` 3 with "


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the packages that a test imports."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("big"):
            del sys.modules[name]
    sys.path_importer_cache.clear()
    importlib.invalidate_caches()


def put(site: Path, tensors: Mapping[str, Any], split: Mapping[str, int], **changed: Any) -> None:
    """Write a package `big`, with an index, and the packages of its parts."""
    parts: list[Any] = []
    for number in range(1 + max(split.values(), default=0)):
        name = f"big-weights-{number + 1}"
        package = site / name.replace("-", "_")
        (package / "big").mkdir(parents=True)
        (package / "__init__.py").touch()
        keys = [key for key in tensors if split[key] == number]
        path = package / "big" / "model.mpk"
        metadata = {"part": {"distribution": name, "version": "3"}, "generator": "any"}
        write_record(path, {key: tensors[key] for key in keys}, metadata=metadata)
        digest = open_record(path).tensors_digest
        parts.append(Part(name, "3", package.name, "big/model.mpk", digest, len(keys)).metadata)
    (site / "big").mkdir()
    (site / "big" / "__init__.py").touch()
    index = {"generator": "g", "config": {"width": 3}, "parts": parts, "order": [split[key] for key in tensors]}
    write_record(site / "big" / "model.mpk", {}, metadata=index | changed)
    importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    put(tmp_path, TENSORS, SPLIT)
    sys.path.insert(0, str(tmp_path))
    return tmp_path


def failure(**options: Any) -> str:
    with pytest.raises(RecordError) as caught:
        load("big", "model.mpk", **options)
    return str(caught.value)


def test_is_one_record_in_the_order_of_the_whole(site: Path) -> None:
    record = load("big", "model.mpk")
    assert list(record) == list(TENSORS)
    for key, value in TENSORS.items():
        np.testing.assert_array_equal(record[key], value)
        assert record[key].dtype == value.dtype
    assert record.metadata["generator"] == "g"
    assert record.config() == {"width": 3}
    assert record.path == str(site / "big" / "model.mpk")
    assert np.shares_memory(record["a"], record["c"])
    assert not record["a"].flags.writeable


def test_has_the_digest_of_the_whole(site: Path) -> None:
    write_record(site / "whole.mpk", TENSORS)
    assert load("big", "model.mpk").tensors_digest == open_record(site / "whole.mpk").tensors_digest


def maps_below(array: Any) -> list[mmap.mmap]:
    """List the maps that an array's memory belongs to."""
    found: list[mmap.mmap] = []
    while array is not None:
        found += [array] if isinstance(array, mmap.mmap) else []
        array = getattr(array, "base" if isinstance(array, np.ndarray) else "obj", None)
    return found


def test_arrays_are_views_of_the_parts(site: Path) -> None:
    record = load("big", "model.mpk")
    for key in ("a", "b", "c", "d"):
        assert len(maps_below(record[key])) == 1, key
        assert np.shares_memory(record[key], record.raw(key))
    assert not maps_below(load("big", "model.mpk", mmap=False)["a"])
    path = site / "big_weights_2" / "big" / "model.mpk"
    offset = record.info("b").offset
    assert offset is not None
    assert path.read_bytes()[offset : offset + 32] == TENSORS["b"].tobytes()
    assert record["b"].base is not None


def pickled(record: Record) -> Record:
    found: Record = pickle.loads(pickle.dumps(record))
    return found


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, pickled])
def test_is_copied_and_pickled(site: Path, again: Callable[[Record], Record]) -> None:
    record = again(load("big", "model.mpk"))
    assert list(record) == list(TENSORS)
    np.testing.assert_array_equal(record["b"], TENSORS["b"])


def test_arrays_outlive_the_record(site: Path) -> None:
    with load("big", "model.mpk") as record:
        array = record["a"]
    np.testing.assert_array_equal(array, TIED)
    with pytest.raises(RecordError, match="the record is closed"):
        record["a"]


def test_options_reach_the_parts(site: Path) -> None:
    record = load("big", "model.mpk", mmap=False)
    for part in ("big_weights_1", "big_weights_2"):
        (site / part / "big" / "model.mpk").write_bytes(b"")
    np.testing.assert_array_equal(record["b"], TENSORS["b"])


def test_widen_gives_float32(tmp_path: Path) -> None:
    import ml_dtypes

    put(tmp_path, {"w": TIED.astype(ml_dtypes.bfloat16), "v": TIED}, {"w": 0, "v": 1})
    sys.path.insert(0, str(tmp_path))
    assert load("big", "model.mpk", widen=True)["w"].dtype == np.float32
    assert load("big", "model.mpk")["w"].dtype == ml_dtypes.bfloat16


def test_the_record_beside_it_lies_beside_the_index(site: Path) -> None:
    write_record(site / "big" / golden_path("model.mpk"), {"input": TIED, "output": TIED})
    assert list(load("big", "model.mpk").beside(golden_path)) == ["input", "output"]


def test_verifying_tells_the_bytes_of_all_parts(site: Path) -> None:
    told: list[int] = []
    record = load("big", "model.mpk")
    record.verify(progress=told.append)
    tensors = {record.raw(key).__array_interface__["data"][0]: record.info(key).nbytes for key in record}
    assert sum(told) == sum(tensors.values())


@pytest.mark.parametrize("part", ["big_weights_1", "big_weights_2"])
def test_verifying_reads_every_part(site: Path, part: str) -> None:
    path = site / part / "big" / "model.mpk"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    record = load("big", "model.mpk")
    with pytest.raises(RecordError, match="expected zeros after the values"):
        record.verify()
    assert failure(verify=True).startswith(f"{path}: ")


@pytest.mark.filterwarnings("ignore:.* does not begin at a multiple of 64 bytes:RuntimeWarning")
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("zipped", [["big"], ["big_weights_1"], ["big", "big_weights_1", "big_weights_2"]], ids=len)
def test_any_of_them_may_be_imported_from_an_archive(site: Path, zipped: list[str], compression: int) -> None:
    with zipfile.ZipFile(site / "packages.zip", "w", compression) as archive:
        for name in zipped:
            for path in sorted((site / name).rglob("*")):
                archive.write(path, path.relative_to(site).as_posix())
                if path.is_file():
                    path.unlink()
            for path in sorted((site / name).rglob("*"), reverse=True):
                path.rmdir()
            (site / name).rmdir()
    sys.path.insert(0, str(site / "packages.zip"))
    importlib.invalidate_caches()
    record = load("big", "model.mpk", verify=True)
    assert {key: value.tolist() for key, value in record.items()} == {k: v.tolist() for k, v in TENSORS.items()}


def test_parts_at_odd_places_of_an_archive_are_told_once_each(site: Path) -> None:
    with zipfile.ZipFile(site / "packages.zip", "w") as archive:
        for name in ("big_weights_1", "big_weights_2"):
            path = site / name / "big" / "model.mpk"
            entry = zipfile.ZipInfo(f"{name}/big/model.mpk")
            padding = -(archive.start_dir + 30 + len(entry.filename) + 4) % 64 + 1
            entry.extra = b"\xff\xff" + padding.to_bytes(2, "little") + bytes(padding)
            archive.writestr(entry, path.read_bytes())
            archive.write(site / name / "__init__.py", f"{name}/__init__.py")
            (site / name / "__init__.py").unlink()
            path.unlink()
    sys.path.insert(0, str(site / "packages.zip"))
    importlib.invalidate_caches()
    with pytest.warns(RuntimeWarning, match="does not begin at a multiple of 64 bytes") as caught:
        record = load("big", "model.mpk")
    assert [str(one.message).split(" does not")[0] for one in caught] == [
        f"{site / 'packages.zip'}: the record big_weights_{number}/big/model.mpk" for number in (1, 2)
    ]
    assert {one.filename for one in caught} == {__file__}
    np.testing.assert_array_equal(record["b"], TENSORS["b"])
    load("big", "model.mpk")  # warnings are errors in this suite


def test_the_package_of_a_part_is_not_imported(site: Path) -> None:
    (site / "big_weights_2" / "__init__.py").write_text("1 / 0\n")
    np.testing.assert_array_equal(load("big", "model.mpk", verify=True)["b"], TENSORS["b"])
    assert not {"big_weights_1", "big_weights_2"} & set(sys.modules)


def test_opening_reads_the_headers_alone(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a tensor was read")

    monkeypatch.setattr("wheelweights.record.buffers.Buffers.raw", refused)
    record = load("big", "model.mpk")
    assert [record.info(key).dtype for key in record] == ["float32", "int64", "float32", "bool", "float16"]


# What is wrong with a part


def again(action: str = "Reinstall it") -> str:
    return f"  {action}: pip install --force-reinstall big-weights-2==3"


def test_a_part_that_is_not_installed(site: Path) -> None:
    for path in sorted((site / "big_weights_2").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (site / "big_weights_2").rmdir()
    importlib.invalidate_caches()
    with pytest.raises(MissingRecordError):
        load("big", "model.mpk")
    shown = site / "big" / "model.mpk"
    assert failure() == f"{shown}: {INDEX}a part of this record, found none\n  Install it: pip install big-weights-2==3"


@pytest.mark.parametrize("package", ["__main__", "this", "big_module", "nothing_of_that_name"])
def test_what_is_no_package_is_not_run_to_find_a_part(
    site: Path, package: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "big_module.py").write_text("1 / 0\n")
    importlib.invalidate_caches()
    metadata = open_record(site / "big" / "model.mpk", index=True).metadata
    metadata["parts"][1]["package"] = package
    write_record(site / "big" / "model.mpk", {}, metadata=metadata)
    assert failure().endswith("a part of this record, found none\n  Install it: pip install big-weights-2==3")
    assert capsys.readouterr().out == ""


def test_an_index_that_names_itself_is_an_error(site: Path) -> None:
    metadata = open_record(site / "big" / "model.mpk", index=True).metadata
    metadata["parts"][1] |= {"package": "big", "name": "model.mpk"}
    write_record(site / "big" / "model.mpk", {}, metadata=metadata)
    assert failure().endswith(f"found a part of `none`\n{again('Install the one that belongs to it')}")


def test_a_part_without_its_record(site: Path) -> None:
    (site / "big_weights_2" / "big" / "model.mpk").unlink()
    assert failure().endswith("a part of this record, found none\n  Install it: pip install big-weights-2==3")


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"distribution": "big-weights-2", "version": "4"}, "big-weights-2 4"),
        ({"distribution": "big-weights-1", "version": "3"}, "big-weights-1 3"),
        ({}, "none"),
        ("text", "none"),
    ],
)
def test_a_part_of_another_version(site: Path, said: object, found: str) -> None:
    tensors = {key: TENSORS[key] for key in ("b", "d")}
    write_record(site / "big_weights_2" / "big" / "model.mpk", tensors, metadata={"part": said})
    assert failure().endswith(
        f"{INDEX}a part of this record, found a part of `{found}`\n{again('Install the one that belongs to it')}"
    )


@pytest.mark.parametrize(
    "tensors",
    [{"b": TENSORS["b"] + 1, "d": TENSORS["d"]}, {"b": TENSORS["b"]}, {"b": TENSORS["b"], "x": TENSORS["d"]}],
    ids=["other values", "fewer", "other keys"],
)
def test_a_part_with_other_tensors(site: Path, tensors: dict[str, Any]) -> None:
    metadata = {"part": {"distribution": "big-weights-2", "version": "3"}}
    write_record(site / "big_weights_2" / "big" / "model.mpk", tensors, metadata=metadata)
    assert failure().endswith(
        f"{INDEX}the tensors that this record was built with, found others\n{again()}; whoever built it gives other "
        "weights another version."
    )


def test_another_release_may_have_made_a_part(site: Path) -> None:
    metadata = {"part": {"distribution": "big-weights-2", "version": "3"}, "generator": "another"}
    write_record(site / "big_weights_2" / "big" / "model.mpk", {k: TENSORS[k] for k in ("b", "d")}, metadata=metadata)
    np.testing.assert_array_equal(load("big", "model.mpk")["b"], TENSORS["b"])


@pytest.mark.parametrize("content", [b"", b"text", INTERRUPTED_BUILD])
def test_a_part_that_is_no_record(site: Path, content: bytes) -> None:
    (site / "big_weights_2" / "big" / "model.mpk").write_bytes(content)
    said = failure()
    assert f"{INDEX}a part of this record, found: expected a record, found " in said
    assert said.endswith(again())


def test_a_part_that_has_parts_itself(site: Path) -> None:
    index = open_record(site / "big" / "model.mpk", index=True).metadata
    part = {"distribution": "big-weights-2", "version": "3"}
    write_record(site / "big_weights_2" / "big" / "model.mpk", {}, metadata=index | {"part": part})
    assert failure().endswith(again() + "; whoever built it gives other weights another version.")


# The index


def test_without_its_parts_it_opens_only_as_an_index(site: Path) -> None:
    path = site / "big" / "model.mpk"
    with pytest.raises(RecordError) as caught:
        open_record(path)
    assert str(caught.value) == (
        f"{path}: expected a record with tensors, found the index of one whose tensors are in distributions of their "
        "own\n  Load it by its package: wheelweights.load(package, name)."
    )
    record = open_record(path, index=True)
    assert len(record) == 0
    assert [part.requirement for part in parts_of(record.metadata, "")] == ["big-weights-1==3", "big-weights-2==3"]


def part_with(**changed: object) -> list[dict[str, object]]:
    whole: dict[str, object] = {
        "distribution": "w", "version": "1", "package": "w", "name": "m.mpk", "tensors": "0" * 64, "count": 1
    }  # fmt: skip
    return [whole | changed]


@pytest.mark.parametrize(
    "parts",
    [
        "text",
        {"a": 1},
        [1],
        [{}],
        part_with(more=1),
        part_with(name="../m.mpk"),
        part_with(name="/etc/passwd"),
        part_with(name="a/../../b"),
        part_with(name="a\\b"),
        part_with(name=""),
        part_with(package="os.path"),
        part_with(package="a b"),
        part_with(package=1),
        part_with(distribution="a; rm -rf /"),
        part_with(distribution="-r"),
        part_with(version="1 && true"),
        part_with(tensors="0"),
        part_with(count=-1),
        part_with(count=True),
        part_with(count="1"),
        part_with(count=2**19 + 1),
        part_with(count=2**62),
        part_with() * 2,
        part_with() * 10_001,
    ],
    ids=lambda parts: str(parts)[:60],
)
def test_malformed_parts_are_an_error(site: Path, parts: object) -> None:
    write_record(site / "big" / "model.mpk", {}, metadata={"parts": parts})
    assert failure().startswith(f"{site / 'big' / 'model.mpk'}: malformed index of parts: expected ")


@pytest.mark.parametrize(
    "order", [None, [], [0], [0, 1, 0, 1, 1], [0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 2], [0, 1, 0, 1, False], "01010", 7]
)
def test_an_order_that_is_not_that_of_the_parts_is_an_error(site: Path, order: object) -> None:
    metadata = open_record(site / "big" / "model.mpk", index=True).metadata
    write_record(site / "big" / "model.mpk", {}, metadata=metadata | {"order": order})
    assert "malformed index of parts: expected an order with every tensor of every part" in failure()


def test_a_tensor_in_two_parts_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, TENSORS, SPLIT)
    sys.path.insert(0, str(tmp_path))
    path = tmp_path / "big_weights_2" / "big" / "model.mpk"
    part = {"distribution": "big-weights-2", "version": "3"}
    write_record(path, {"a": TIED, "d": TENSORS["d"]}, metadata={"part": part})
    metadata = open_record(tmp_path / "big" / "model.mpk", index=True).metadata
    metadata["parts"][1]["tensors"] = open_record(path).tensors_digest
    write_record(tmp_path / "big" / "model.mpk", {}, metadata=metadata)
    assert "malformed index of parts: expected each tensor in one part" in failure()


def test_two_tensors_with_one_source_are_an_error(site: Path) -> None:
    path = site / "big_weights_2" / "big" / "model.mpk"
    metadata = open_record(path).metadata
    write_record(path, {key: TENSORS[key] for key in ("b", "d")}, metadata=metadata, source_keys={"b": "a"})
    assert "malformed index of parts: expected each tensor to have a source of its own" in failure()


def test_metadata_of_that_name_beside_tensors_mean_nothing(tmp_path: Path) -> None:
    write_record(tmp_path / "model.mpk", {"w": TIED}, metadata={"parts": "anything"})
    assert list(open_record(tmp_path / "model.mpk")) == ["w"]


# Any record, divided in any way

DTYPES = ["float32", "int64", "bool", "float16"]
SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@st.composite
def divided(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, int]]:
    shapes: Sequence[tuple[int, ...]] = draw(st.lists(SHAPES, min_size=1, max_size=8))
    tensors: dict[str, Any] = {}
    split: dict[str, int] = {}
    parts = draw(st.integers(1, 4))
    for number, shape in enumerate(shapes):
        values = np.arange(int(np.prod(shape))).reshape(shape) + number
        array = (values % 2 == 0) if (dtype := draw(st.sampled_from(DTYPES))) == "bool" else values.astype(dtype)
        part = draw(st.integers(0, parts - 1))
        for key in draw(st.lists(st.text("abc.", min_size=1, max_size=4), max_size=2)):  # two keys are tied
            if key not in tensors:
                tensors[key], split[key] = array, part
    return tensors, split


@given(divided())
def test_divided_and_joined_is_whole(tmp_path_factory: pytest.TempPathFactory, given: Any) -> None:
    tensors, split = given
    if not tensors:
        return
    site = tmp_path_factory.mktemp("site")
    put(site, tensors, split)
    write_record(site / "whole.mpk", tensors)
    whole = open_record(site / "whole.mpk")
    sys.path.insert(0, str(site))
    try:
        record = load("big", "model.mpk", verify=True)
        assert list(record) == list(whole)
        for key in whole:
            assert record.raw(key).tobytes() == whole.raw(key).tobytes()
            assert record.info(key).dtype == whole.info(key).dtype
            assert record.info(key).shape == whole.info(key).shape
        assert record.tensors_digest == whole.tensors_digest
    finally:
        sys.path.remove(str(site))
        for name in [name for name in sys.modules if name.startswith("big")]:
            del sys.modules[name]
        sys.path_importer_cache.clear()
        importlib.invalidate_caches()


def test_it_binds_as_any_record(site: Path) -> None:
    from dataclasses import dataclass

    @dataclass
    class Net:
        a: np.ndarray[Any, Any]
        b: np.ndarray[Any, Any]
        c: np.ndarray[Any, Any]
        d: np.ndarray[Any, Any]
        e: np.ndarray[Any, Any]

    np.testing.assert_array_equal(ww.bind(Net, load("big", "model.mpk")).b, TENSORS["b"])


def test_its_forward_pass_is_checked_with_the_outputs_beside_the_index(site: Path) -> None:
    from dataclasses import dataclass

    @dataclass
    class Sum:
        a: np.ndarray[Any, Any]
        b: np.ndarray[Any, Any]

        def __call__(self, x: Any) -> Any:
            return x + self.a.sum() + self.b.sum()

    record = load("big", "model.mpk")
    write_record(
        site / "big" / golden_path("model.mpk"),
        {"input": np.ones(2), "output": np.full(2, 22.0)},
        metadata={"golden": {"tensors": record.tensors_digest}},
    )
    assert ww.check(ww.bind(Sum(TIED, TENSORS["b"]), {key: record[key] for key in ("a", "b")}), record).fits


def test_torch_takes_it_as_any_record(site: Path) -> None:
    pytest.importorskip("torch")
    from wheelweights.torch import state_dict

    tensors = state_dict(load("big", "model.mpk"))
    assert {key: tensor.tolist() for key, tensor in tensors.items()} == {k: v.tolist() for k, v in TENSORS.items()}
    assert tensors["a"].data_ptr() == tensors["c"].data_ptr()


def test_it_gives_its_bytes_to_write_to(site: Path) -> None:
    record = load("big", "model.mpk")
    files = {path: path.read_bytes() for path in site.rglob("*.mpk")}
    raw_of = record.writable()
    for key in record:
        assert raw_of(key).tobytes() == record.raw(key).tobytes()
    for key in ("a", "b", "d"):
        raw_of(key)[:] = 1
    assert set(raw_of("c")) == {1}
    for key, value in TENSORS.items():
        np.testing.assert_array_equal(record[key], value)
    assert {path: path.read_bytes() for path in site.rglob("*.mpk")} == files
