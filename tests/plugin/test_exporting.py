"""Export: a safetensors file holds bit for bit what its source holds, or there is one clear error and no file."""

from __future__ import annotations

import dataclasses
import gzip
import inspect
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hatch_wheelweights
from hatch_wheelweights import CheckpointError, ConfigError, Export, convert, export, open_checkpoint
from hatch_wheelweights.safetensors import write_safetensors
from making import checkpoints
from making.checkpoints import legacy_checkpoint, tar_checkpoint, zip_checkpoint
from making.installed import in_parts, record_bytes
from making.pickles import get, pickled, put, state_dict, storage, tensor
from making.small_files import WHEEL, nested_checkpoint, small_checkpoint, small_record, small_wheel, wheel, write
from making.tensors import lazy
from making.values import FLOATS
from wheelweights import RecordError, write_record
from wheelweights.dtypes import DTYPES, numpy_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from hatch_wheelweights.checkpoint import LazyTensor

HELD = sorted(DTYPES.keys() - {"complex128"})
BURN = b"\x82\xa8metadata\x80\xa4item\x81\xa1w\x83\xa5bytes\xc4\x04\x00\x00\x80\x3f\xa5shape\x91\x01\xa5dtype\xa3F32"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sample(dtype: str, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    """Return an array of random bits: every kind of NaN is among those of a float."""
    count = int(np.prod(shape, dtype=int)) * DTYPES[dtype].itemsize
    raw = np.random.default_rng(seed).integers(0, 2 if dtype == "bool" else 256, count, np.uint8)
    return raw.view(numpy_dtype(dtype)).reshape(shape)


def bits(array: NDArray[Any]) -> tuple[str, tuple[int, ...], bytes]:
    return array.dtype.name, array.shape, array.tobytes()


def back(path: str = "out.safetensors") -> dict[str, NDArray[Any]]:
    """Return what our reader has of a file, in its order."""
    with open_checkpoint(path) as checkpoint:
        assert checkpoint.kind == "safetensors"
        return {key: tensor.numpy() for key, tensor in checkpoint.tree.items()}


def header(path: str = "out.safetensors") -> dict[str, Any]:
    raw = Path(path).read_bytes()
    found: dict[str, Any] = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    return found


def metadata(path: str = "out.safetensors") -> Mapping[str, str]:
    with open_checkpoint(path) as checkpoint:
        return checkpoint.metadata


def refused(source: str, output: str = "out.safetensors", **options: Any) -> str:
    """Export what cannot be; nothing is left of it."""
    before = sorted(Path().rglob("*"))
    with pytest.raises((CheckpointError, RecordError, ConfigError)) as caught:
        export(source, output, **options)
    assert sorted(Path().rglob("*")) == before
    return str(caught.value)


# --------------------------------------------------------------------------------------------------------------- values


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9).filter(lambda key: key != "__metadata__")
SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.dictionaries(KEYS, st.tuples(st.sampled_from(HELD), SHAPES), max_size=6))
def test_any_tensors_come_back_bit_for_bit_and_in_their_order(kinds: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    arrays = {key: sample(dtype, shape, seed) for seed, (key, (dtype, shape)) in enumerate(kinds.items())}
    write_record("in.mpk", arrays)
    export("in.mpk", "out.safetensors", force=True)
    expected = [(key, bits(array)) for key, array in arrays.items()]
    assert [(key, bits(array)) for key, array in back().items()] == expected
    library = dict(safetensors.deserialize(Path("out.safetensors").read_bytes()))
    assert {key: (each["shape"], bytes(each["data"])) for key, each in library.items()} == {
        key: (list(array.shape), array.tobytes()) for key, array in arrays.items()
    }


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.dictionaries(KEYS, st.tuples(st.sampled_from(HELD), SHAPES), max_size=6))
def test_every_tensor_lies_where_its_elements_are_aligned_and_none_is_left_between(
    kinds: dict[str, tuple[str, tuple[int, ...]]],
) -> None:
    tensors = {key: lazy(sample(dtype, shape, 0), blocks=2) for key, (dtype, shape) in kinds.items()}
    size = written(tensors)
    raw = Path("out.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    assert (len(raw), length % 8) == (size, 0)
    places = [(header()[key]["data_offsets"], tensor) for key, tensor in tensors.items()]
    assert all((8 + length + begin) % DTYPES[tensor.dtype].itemsize == 0 for (begin, _), tensor in places)
    end = 0
    for begin, stop in sorted(place for place, _ in places):
        assert begin == end
        end = stop
    assert 8 + length + end == size


def written(tensors: Mapping[str, LazyTensor], **more: Any) -> int:
    return write_safetensors("out.safetensors", tensors, **{"metadata": {}, "complete": int, "remedy": repr, **more})


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("pytorch-zip", zip_checkpoint()),
        ("pytorch-legacy", legacy_checkpoint()),
        ("pytorch-tar", tar_checkpoint()),
        ("safetensors", checkpoints.safetensors()),
        ("pytorch-export", checkpoints.exported()),
    ],
)
def test_exports_every_container(kind: str, data: bytes) -> None:
    write("model", data)
    done = export("model", "out.safetensors")
    size = Path("out.safetensors").stat().st_size
    assert done == Export(Path("model"), Path("out.safetensors"), kind, 1, 16, size, (), ())
    assert {key: array.tobytes() for key, array in back().items()} == {"w": FLOATS}


def test_the_data_are_in_the_order_of_the_library() -> None:
    tensors = {"b": "int8", "a": "int8", "c": "float64", "d": "float16", "e": "int64"}
    written({key: lazy(sample(dtype, (2,), 0)) for key, dtype in tensors.items()})
    assert list(header()) == ["__metadata__", "b", "a", "c", "d", "e"]
    assert sorted(tensors, key=lambda key: header()[key]["data_offsets"]) == ["c", "e", "d", "a", "b"]


# -------------------------------------------------------------------------------------------------------------- options


def test_options_apply_as_they_do_to_a_conversion() -> None:
    nested_checkpoint()
    options: dict[str, Any] = {"top_level_key": "model", "key_remap": [("^", "net.")], "precision": "half"}
    done = export("nested.pt", "out.safetensors", **options)
    convert("nested.pt", "out.mpk", **options)
    export("out.mpk", "record.safetensors")
    assert Path("out.safetensors").read_bytes() == Path("record.safetensors").read_bytes()
    assert (done.tensors, done.nbytes, back()["net.w"].tolist()) == (1, 8, [1, 2, 3, 4])


def test_layers_keep_their_numbers_unless_they_are_to_be_closed_up() -> None:
    """The program that loads them has the numbers of the model, where layers without weights have some."""
    small_checkpoint()
    assert export("model.pt", "out.safetensors").notes[0] == "left out `step`: no tensors"
    assert list(back()) == ["layers.0.w", "layers.2.w", "tied"]
    done = export("model.pt", "out.safetensors", reindex=True, force=True)
    assert (list(back()), done.notes[0]) == (["layers.0.w", "layers.1.w", "tied"], "reindexed `layers`: 0, 2 -> 0, 1")


def test_takes_the_options_of_a_conversion_that_concern_tensors() -> None:
    parameters = inspect.signature(export).parameters
    assert list(parameters) == [
        "source", "output", "top_level_key", "key_remap", "reindex", "precision", "include", "exclude", "whole_model",
        "force",
    ]  # fmt: skip
    assert (hatch_wheelweights.export, hatch_wheelweights.Export) == (export, Export)


def test_options_are_for_checkpoints() -> None:
    write("model.mpk", small_record())
    assert refused("model.mpk", precision="half", exclude=["x"]) == (
        "model.mpk: precision, exclude: expected a checkpoint to convert, found a record\n"
        "  Leave them out: the tensors of a record are as the conversion made them."
    )
    assert refused("model.mpk", precicion="half").startswith("precicion: unknown option")


def test_warns_as_a_conversion_does() -> None:
    write("model.pt", zip_checkpoint(storages={"0": np.array([1, np.nan, np.inf, 0], "<f4").tobytes()}))
    done = export("model.pt", "out.safetensors", key_remap=[("x", "y")])
    assert done.warnings == convert("model.pt", "out.mpk", key_remap=[("x", "y")]).warnings
    assert len(done.warnings) == 2


# ----------------------------------------------------------------------------------------------------------------- ties


def test_tied_tensors_get_bytes_of_their_own() -> None:
    content = pickled({"b": put(tensor(), 90), "a": get(90), "n": tensor(storage("1", 1), size=(1,))})
    write("model.pt", zip_checkpoint(content, {"0": FLOATS, "1": FLOATS[:4]}))
    done = export("model.pt", "out.safetensors")
    note = "tied tensors have bytes of their own, since safetensors has no ties: `a` (16 bytes more)"
    assert (done.tensors, done.nbytes, done.notes) == (3, 36, (note,))
    assert {key: array.tobytes() for key, array in back().items()} == {"b": FLOATS, "a": FLOATS, "n": FLOATS[:4]}
    convert("model.pt", "model.mpk")
    assert export("model.mpk", "record.safetensors").notes == (note,)
    assert Path("record.safetensors").read_bytes() == Path("out.safetensors").read_bytes()


def test_a_tied_tensor_that_loses_values_is_counted_once() -> None:
    content = pickled({"b": put(tensor(), 90), "a": get(90)})
    write("model.pt", zip_checkpoint(content, {"0": np.array([1, 1e-9, 1, 0], "<f4").tobytes()}))
    done = export("model.pt", "out.safetensors", precision="half")
    assert done.notes[0] == convert("model.pt", "out.mpk", precision="half").notes[0]


def test_a_small_file_cannot_tie_its_way_to_a_large_one() -> None:
    numel = 1 << 20
    tensors = {f"t{number}": get(90) for number in range(400)}
    content = state_dict(w=put(tensor(storage("0", numel), size=(numel,)), 90), **tensors)
    write("model.pt", zip_checkpoint(content, {"0": bytes(4 * numel)}))
    limit = (256 << 20) + 64 * Path("model.pt").stat().st_size
    total = 401 * 4 * numel
    assert total > limit
    assert refused("model.pt") == (
        f"model.pt: its tensors take {total:,} bytes without ties, expected at most {limit:,} from a file of this size"
    )


# -------------------------------------------------------------------------------------------------------------- sources


def test_exports_a_record_of_burn_and_says_whose_layout_it_has() -> None:
    write("burn.mpk", BURN)
    done = export("burn.mpk", "out.safetensors")
    assert (done.format, done.notes) == (
        "burn-record",
        ("names and layout are Burn's: the weight of a linear layer is (in, out), norms have `gamma` and `beta`",),
    )
    assert back()["w"].tolist() == [1]
    write("burn.mpk.gz", gzip.compress(BURN))
    export("burn.mpk.gz", "gz.safetensors")
    assert Path("gz.safetensors").read_bytes() == Path("out.safetensors").read_bytes()


@pytest.mark.parametrize("compression", [0, 8], ids=["stored", "deflated"])
def test_exports_a_record_in_a_wheel(compression: int) -> None:
    small_wheel(compression)
    write("2.mpk", small_record(2))
    export(f"{WHEEL}/demo/2.mpk", "out.safetensors")
    export("2.mpk", "record.safetensors")
    assert Path("out.safetensors").read_bytes() == Path("record.safetensors").read_bytes()


def test_exports_the_only_record_of_a_wheel() -> None:
    write(WHEEL, wheel({"demo/model.mpk": small_record()}))
    assert export(WHEEL, "out.safetensors").format == "record"
    assert back()["w"].tolist() == [0, 1, 2, 3]


def test_of_several_records_in_a_wheel_one_has_to_be_named() -> None:
    small_wheel()
    assert refused(WHEEL) == (
        f"{WHEEL}: expected a wheel with one record, found 2: `demo/1.mpk`, `demo/2.mpk`\n"
        f"  Name one of them: {WHEEL}/demo/1.mpk"
    )
    assert refused(f"{WHEEL}/demo/3.mpk") == (
        f"{WHEEL}/demo/3.mpk: no such record in the wheel\n  Name one of `demo/1.mpk`, `demo/2.mpk`."
    )


def test_of_a_record_in_parts_the_parts_have_the_tensors() -> None:
    index, parts = in_parts()
    write("model.mpk", index)
    write("part.mpk", parts["big-weights-2"])
    assert refused("model.mpk") == (
        "model.mpk: expected a record with tensors, found one whose tensors are in distributions of their own: "
        "`big-weights-1==3`, `big-weights-2==3`\n  Export the records in the wheels of those."
    )
    done = export("part.mpk", "out.safetensors")
    assert done.warnings == (
        "it is a part of a record, in the distribution `big-weights-2==3`: other parts have the other tensors",
    )
    assert len(back()) == 3


def test_what_is_neither_is_told_as_everywhere() -> None:
    write("notes.txt", b"hello")
    assert refused("notes.txt").startswith("notes.txt: expected a checkpoint, found a file that begins with b'hello'")
    assert refused("none.pt").startswith("none.pt: cannot be opened: No such file or directory")
    assert refused(".").startswith(".: expected a checkpoint, a record or a wheel, found a folder")


# ------------------------------------------------------------------------------------------------------------- metadata


def test_says_that_the_tensors_are_torchs() -> None:
    write("model.pt", zip_checkpoint())
    export("model.pt", "out.safetensors")
    assert metadata() == {"format": "pt"}


def test_keeps_the_metadata_of_a_safetensors_file() -> None:
    write("model.safetensors", checkpoints.safetensors(metadata={"licence": "MIT", "format": "mlx"}))
    export("model.safetensors", "out.safetensors")
    assert metadata() == {"licence": "MIT", "format": "mlx"}


def test_keeps_the_pairs_that_a_record_has_and_tells_what_it_cannot_keep() -> None:
    nested_checkpoint()
    convert("nested.pt", "model.mpk", top_level_key="model", metadata={"by": "me"}, config_key=["config", "net"])
    done = export("model.mpk", "out.safetensors")
    assert (metadata(), done.notes) == (
        {"format": "pt", "by": "me"},
        ("left out the configuration: safetensors has pairs of text only",),
    )
    write("odd.mpk", record_bytes({}, {"user": {"a": 1, "b": "text"}}))
    assert (export("odd.mpk", "odd.safetensors").tensors, metadata("odd.safetensors")) == (
        0,
        {"format": "pt", "b": "text"},
    )


# -------------------------------------------------------------------------------------------------- what cannot be held


def test_a_dtype_that_safetensors_lacks_is_one_error_for_all_tensors() -> None:
    complex_ = tensor(storage("0", 1, "ComplexDoubleStorage"), size=(1,))
    write("model.pt", zip_checkpoint(state_dict(**{"a.b": complex_, "c": complex_}), {"0": FLOATS}))
    assert refused("model.pt") == (
        "model.pt: expected dtypes that safetensors has, found `complex128` in `a.b`, `c`\n"
        '  Cast them: precision=[{"pattern": "^a\\\\.b$", "dtype": "complex64"}, {"pattern": "^c$", "dtype": '
        '"complex64"}], or leave them out with exclude.'
    )
    export("model.pt", "out.safetensors", precision=[("^(a.b|c)$", "complex64")])
    many = {f"t{number}": complex_ for number in range(9)}
    write("many.pt", zip_checkpoint(state_dict(**many), {"0": FLOATS}))
    assert refused("many.pt", "many.safetensors").splitlines()[1] == (
        "  Cast them to `complex64` by rules of precision, or leave them out with exclude."
    )
    convert("model.pt", "model.mpk")
    assert refused("model.mpk", "record.safetensors") == (
        "model.mpk: expected dtypes that safetensors has, found `complex128` in `a.b`, `c`\n"
        "  Export the checkpoint that the record was made from, with these tensors cast or left out."
    )


def test_tensors_that_cannot_be_read_are_told_together() -> None:
    broken = tensor(size=(99,))
    write("one.pt", zip_checkpoint(state_dict(w=broken)))
    assert refused("one.pt") == ("one.pt: tensor `w`: reaches past its storage: expected at least 99 elements, found 4")
    write("two.pt", zip_checkpoint(state_dict(w=broken, v=broken)))
    assert refused("two.pt") == (
        "two.pt: expected tensors that a safetensors file can hold, found 2 others\n"
        "  `w`: reaches past its storage: expected at least 99 elements, found 4\n"
        "  `v`: reaches past its storage: expected at least 99 elements, found 4\n"
        "  Leave them out with exclude if they are not needed."
    )


def test_a_key_that_safetensors_has_for_itself_is_an_error() -> None:
    write_record("in.mpk", {"__metadata__": np.zeros(1, "f")})
    assert refused("in.mpk") == (
        "in.mpk: tensor `__metadata__`: expected other keys than `__metadata__`, which safetensors has for itself"
    )


def test_a_key_that_is_no_valid_unicode_is_an_error() -> None:
    with pytest.raises(CheckpointError, match=r"^expected valid Unicode as a key, found '\\udc80'$"):
        written({"\udc80": lazy([1.0])})
    with pytest.raises(CheckpointError, match=r"^expected valid Unicode as metadata of a safetensors file"):
        written({"w": lazy([1.0])}, metadata={"a": "\udc80"})
    assert list(Path().iterdir()) == []


def test_a_header_has_the_limit_of_the_library() -> None:
    with pytest.raises(CheckpointError, match=r"^expected names and metadata of at most 100,000,000 bytes, found 1"):
        written({"w": lazy([1.0])}, metadata={"a": "x" * 100_000_000})
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(("size", "expected", "found"), [(3, 12, "more"), (5, 20, "16")])
def test_a_tensor_has_to_deliver_what_it_declared(size: int, expected: int, found: str) -> None:
    false = dataclasses.replace(lazy(np.zeros(4, "f")), shape=(size,))
    with pytest.raises(CheckpointError) as caught:
        written({"w": false})
    assert str(caught.value) == (
        f"tensor `w`: expected {expected} bytes of dtype and shape, the tensor delivered {found}"
    )
    assert list(Path().iterdir()) == []


# --------------------------------------------------------------------------------------------------------------- output


def test_replaces_a_safetensors_file_only_if_it_is_told_to() -> None:
    write("model.pt", zip_checkpoint())
    write("out.safetensors", checkpoints.safetensors({}, b""))
    assert refused("model.pt") == (
        "out.safetensors: expected no file there, found a safetensors file\n"
        "  Replace it with force=True, or give the export another name."
    )
    export("model.pt", "out.safetensors", force=True)
    assert list(back()) == ["w"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("there", [b"", b"text", zip_checkpoint(), b"\x82\xa8metadata"])
def test_replaces_no_other_file(there: bytes, force: bool) -> None:
    write("model.pt", zip_checkpoint())
    write("out.safetensors", there)
    said = refused("model.pt", force=force)
    assert said.startswith("out.safetensors: expected no file there but a safetensors file, which is replaced; found ")
    assert said.endswith("\n  Give the export another name, or remove the file.")
    assert Path("out.safetensors").read_bytes() == there


def test_never_replaces_its_source() -> None:
    write("model.safetensors", checkpoints.safetensors())
    os.link("model.safetensors", "link.safetensors")
    for output in ("model.safetensors", "link.safetensors"):
        assert refused("model.safetensors", output, force=True) == (
            "model.safetensors: expected another file as output, found the checkpoint itself\n"
            "  Give the export a name of its own."
        )


def test_names_come_before_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with names, options and output is told before a tensor is read."""
    write("model.pt", zip_checkpoint())
    write("out.safetensors", b"text")
    monkeypatch.setattr(hatch_wheelweights.LazyTensor, "blocks", None)
    assert refused("model.pt", top_level_key="x").startswith("model.pt: expected top-level key `x`")
    assert refused("model.pt").startswith("out.safetensors: expected no file there")


# --------------------------------------------------------------------------------------------- damage, while it is read


def test_a_damaged_record_is_an_error_and_no_file() -> None:
    for name, make in {"model.mpk": bytes, WHEEL: lambda data: wheel({"demo/m.mpk": data})}.items():
        content = bytearray(small_record())
        content[-40] ^= 1  # among the four floats there are 16 bytes, 59 - 16 zeros
        content = content.replace(np.arange(4, dtype="<f4").tobytes(), np.arange(1, 5, dtype="<f4").tobytes())
        write(name, make(bytes(content)))
        said = refused(name)
        assert "tensor `w`: damaged: expected CRC-32 " in said
        assert said.endswith("\n  Reinstall the package that ships it; if it is yours, rebuild the wheel.")


def test_a_disk_that_is_full_is_told_of_the_output() -> None:
    write("model.pt", zip_checkpoint())
    assert refused("model.pt", "no/such/folder/out.safetensors") == (
        "no/such/folder/out.safetensors: cannot be written: No such file or directory"
    )
