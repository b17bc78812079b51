"""Legacy streams and tars that lie about their storages, and files that are two formats at once."""

from __future__ import annotations

import struct
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hatch_wheelweights.errors import UnsafePickleError
from making.checkpoints import (
    LEGACY_MAGIC,
    legacy_checkpoint,
    python2_checkpoint,
    safetensors,
    tar_checkpoint,
    tar_storages,
    tar_tensors,
    torch_members,
    zip_checkpoint,
)
from making.pickles import (
    Code,
    call,
    code,
    legacy_storage,
    name,
    ordered_dict,
    persistent,
    pickled,
    python2,
    state_dict,
    tensor,
)
from making.values import FLOATS, VALUES
from making.zips import Member, zip_archive

if TYPE_CHECKING:
    from looking.opening import Refused

MAGIC = 0x1950A86A20F9469CFC6C
OTHER = struct.pack("<4f", 9, 9, 9, 9)


def stream(**tensors: Code) -> bytes:
    """Write a legacy stream whose state_dict holds these."""
    return legacy_checkpoint(state_dict(**tensors))


# ------------------------------------------------------------------------------------- legacy stream


def test_opens_what_python_2_wrote(opened: Any) -> None:
    np.testing.assert_array_equal(opened(python2_checkpoint())["w"], VALUES)


def test_opens_views_of_a_storage(opened: Any) -> None:
    pickle = state_dict(
        w=tensor(legacy_storage()),
        first=tensor(legacy_storage(view=("v0", 0, 2)), size=(2,)),
        second=tensor(legacy_storage(view=("v1", 1, 3)), offset=1, size=(2,)),
    )
    arrays = opened(legacy_checkpoint(pickle))
    assert {key: array.tolist() for key, array in arrays.items()} == {
        "w": [1.0, 2.0, 3.0, 4.0],
        "first": [1.0, 2.0],
        "second": [3.0, 4.0],
    }


def test_reads_the_stream_of_a_big_endian_machine(opened: Any) -> None:
    """Torch wrote elements and counts in little-endian order on all machines, and never looks at this entry."""
    np.testing.assert_array_equal(opened(legacy_checkpoint(little_endian=False))["w"], VALUES)


def test_reads_the_storages_in_the_order_of_the_keys(opened: Any) -> None:
    pickle = state_dict(a=tensor(legacy_storage("a")), b=tensor(legacy_storage("b")))
    arrays = opened(legacy_checkpoint(pickle, {"b": OTHER, "a": FLOATS}))
    assert arrays["a"].tolist() == list(VALUES)
    assert arrays["b"].tolist() == [9.0] * 4


def test_refuses_to_compute_the_magic_number(refused: Refused, marker: str) -> None:
    payload = f"[{MAGIC}, open({marker!r}, 'w').close()][0]"
    refused(legacy_checkpoint(magic=pickled(call(name("builtins", "eval"), payload))))


@pytest.mark.parametrize(
    "magic",
    [
        pytest.param(pickled(MAGIC + 1), id="one more"),
        pytest.param(pickled(MAGIC, protocol=99), id="protocol 99"),
        pytest.param(pickled(str(MAGIC)), id="text"),
        pytest.param(pickled([MAGIC]), id="list"),
        pytest.param(b"", id="missing"),
        pytest.param(LEGACY_MAGIC * 2, id="twice"),
    ],
)
def test_refuses_a_magic_number_that_is_not_the_bytes_of_torch(refused: Refused, magic: bytes) -> None:
    refused(legacy_checkpoint(magic=magic))


@pytest.mark.parametrize("version", [0, 1000, 1002, "1001", None, [1001], 2**70])
def test_refuses_another_protocol_version(refused: Refused, version: Any) -> None:
    refused(legacy_checkpoint(version=version))


@pytest.mark.parametrize("endian", ["little", 2, None, [], 1.0])
def test_survives_a_strange_byte_order(survived: Any, endian: object) -> None:
    survived(legacy_checkpoint(little_endian=endian))


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param(stream(w=tensor(legacy_storage(view=("v", 1, 4)))), id="view past the end by one element"),
        pytest.param(stream(w=tensor(legacy_storage(view=("v", 4, 1)), size=(1,))), id="view after the end"),
        pytest.param(stream(w=tensor(legacy_storage(view=("v", -1, 4)))), id="view before the start"),
        pytest.param(stream(w=tensor(legacy_storage(view=("v", 0, -4)))), id="view of negative size"),
        pytest.param(stream(w=tensor(legacy_storage(view=("v", 0, 1 << 62)))), id="huge view"),
        pytest.param(stream(w=tensor(legacy_storage(view=("v", 1 << 62, 4)))), id="view at a huge offset"),
        pytest.param(stream(w=tensor(legacy_storage(view=("v", 0, 2)))), id="tensor larger than its view"),
        pytest.param(stream(w=tensor(legacy_storage(view=("v", 0)))), id="view of two parts"),
        pytest.param(stream(w=tensor(legacy_storage(view="v"))), id="view text"),
        pytest.param(stream(w=tensor(legacy_storage(view=("v", "0", "4")))), id="view of texts"),
        pytest.param(stream(w=tensor(legacy_storage(numel=5))), id="numel over the storage"),
        pytest.param(stream(w=tensor(legacy_storage(numel=3), size=(3,))), id="numel under the storage"),
        pytest.param(legacy_checkpoint(numels={"0": 3}), id="stream numel under the pid's"),
        pytest.param(legacy_checkpoint(numels={"0": 5}), id="stream numel over the pid's"),
        pytest.param(legacy_checkpoint(numels={"0": -4}), id="stream numel negative"),
        pytest.param(legacy_checkpoint(numels={"0": 1 << 62}), id="stream numel that wraps"),
        pytest.param(legacy_checkpoint(storages={"0": FLOATS[:12]}, numels={"0": 4}), id="storage past the end"),
        pytest.param(
            legacy_checkpoint(storages={"0": FLOATS[:15]}, numels={"0": 4}), id="storage past the end by a byte"
        ),
        pytest.param(legacy_checkpoint() + b"\0", id="one trailing byte"),
        pytest.param(legacy_checkpoint() + legacy_checkpoint(), id="a second stream"),
        pytest.param(legacy_checkpoint(keys=[]), id="storage not listed"),
        pytest.param(legacy_checkpoint(keys=["1"]), id="another storage listed"),
        pytest.param(legacy_checkpoint(keys="0"), id="keys a text"),
        pytest.param(legacy_checkpoint(keys={"0": 1}), id="keys a dict"),
        pytest.param(legacy_checkpoint(keys=[["0"]]), id="key a list"),
        pytest.param(legacy_checkpoint(keys=None)[:-1], id="cut by one byte"),
        pytest.param(
            legacy_checkpoint(keys=["0", "0"]) + struct.pack("<q", 4) + OTHER, id="storage listed twice, last would win"
        ),
        pytest.param(
            legacy_checkpoint(storages={"0": FLOATS, "1": OTHER}, keys=["0", "1"])[:-1], id="unused storage that is cut"
        ),
        pytest.param(
            stream(w=tensor(legacy_storage()), x=tensor(legacy_storage(kind="IntStorage"))), id="storage of two dtypes"
        ),
        pytest.param(
            stream(w=tensor(legacy_storage()), x=tensor(legacy_storage(numel=2), size=(2,))), id="storage of two sizes"
        ),
    ],
)
def test_refuses_a_stream_that_lies(refused: Refused, attack: bytes) -> None:
    refused(attack)


@pytest.mark.parametrize("length", range(1, len(legacy_checkpoint()), 5))
def test_refuses_a_stream_cut_anywhere(refused: Refused, length: int) -> None:
    refused(legacy_checkpoint()[:length])


def test_never_reads_the_source_of_a_module(survived: Any, marker: str) -> None:
    """Torch < 1.6 wrote the class, its source file and its source; torch < 2 compared and even wrote patches."""
    module = persistent("module", name("mynet", "Net"), "/etc/passwd", f"open({marker!r}, 'w')")
    survived(legacy_checkpoint(pickled({"w": tensor(legacy_storage()), "m": Code(module + b")\x81")})))


# ------------------------------------------------------------------------------------- tar


def test_opens_views_in_a_tar(opened: Any) -> None:
    file = tar_checkpoint(storages=tar_storages(views=[(9, 1, 1, 3)]), tensors=tar_tensors(of=9, size=(2,), offset=1))
    assert opened(file)["w"].tolist() == [3.0, 4.0]


def test_opens_strides_in_a_tar(opened: Any) -> None:
    assert opened(tar_checkpoint(tensors=tar_tensors(size=(2, 2), stride=(1, 2))))["w"].tolist() == [[1, 3], [2, 4]]


def link(path: str, kind: bytes, target: str = "/etc/passwd") -> tarfile.TarInfo:
    """Describe a member of a tar that is no file."""
    info = tarfile.TarInfo(path)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("path", ["storages", "tensors", "pickle", "sys_info"])
@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CONTTYPE],
    ids=["symlink", "hardlink", "device", "fifo", "directory", "contiguous"],
)
def test_refuses_members_that_are_no_files(refused: Refused, path: str, kind: bytes) -> None:
    refused(tar_checkpoint(extra=[(link(path, kind), b"")], without=path))
    refused(tar_checkpoint(extra=[(link(path, kind, "pickle"), b"")], without=path))


def regular(path: str, size: int = 0) -> tarfile.TarInfo:
    """Describe a file in a tar."""
    info = tarfile.TarInfo(path)
    info.size = size
    return info


@pytest.mark.parametrize("path", ["../storages", "/tmp/storages", "a/../../x", "./storages"])
def test_writes_nothing_for_names_that_leave_the_tar(survived: Any, tmp_path: Any, path: str) -> None:
    survived(tar_checkpoint(extra=[(regular(path, 16), OTHER)]))
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.parametrize("path", ["storages", "tensors", "pickle"])
def test_refuses_two_members_of_one_name(refused: Refused, path: str) -> None:
    content = {"storages": tar_storages(data=OTHER), "tensors": tar_tensors(), "pickle": pickled({})}[path]
    refused(tar_checkpoint(extra=[(regular(path, len(content)), content)]), path)


@pytest.mark.parametrize("path", ["storages", "tensors", "pickle"])
def test_refuses_a_tar_without_one_of_its_members(refused: Refused, path: str) -> None:
    refused(tar_checkpoint(without=path), path)


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param({"storages": tar_storages(numel=5)}, id="storage past its member"),
        pytest.param({"storages": tar_storages(numel=3)}, id="storage with bytes left"),
        pytest.param({"storages": tar_storages(numel=-4)}, id="negative storage"),
        pytest.param({"storages": tar_storages(numel=1 << 62)}, id="storage that wraps"),
        pytest.param({"storages": tar_storages(count=1 << 40)}, id="too many storages"),
        pytest.param({"storages": tar_storages(count=-1)}, id="negative number of storages"),
        pytest.param({"storages": tar_storages(count=0)}, id="no storages"),
        pytest.param({"storages": tar_storages(kind="EvilStorage")}, id="unknown storage"),
        pytest.param({"storages": tar_storages(key=[1])}, id="key a list"),
        pytest.param({"storages": tar_storages() + b"\0"}, id="bytes after the storages"),
        pytest.param({"storages": tar_storages()[:-5]}, id="storages cut"),
        pytest.param(
            {"storages": tar_storages(views=[(9, 1, 1, 4)]), "tensors": tar_tensors(of=9)}, id="view past the end"
        ),
        pytest.param(
            {"storages": tar_storages(views=[(9, 8, 0, 4)]), "tensors": tar_tensors(of=9)}, id="view of nothing"
        ),
        pytest.param(
            {"storages": tar_storages(views=[(9, 9, 0, 4)]), "tensors": tar_tensors(of=9)}, id="view of itself"
        ),
        pytest.param({"storages": tar_storages(views=[(9, 1)])}, id="view of two parts"),
        pytest.param({"tensors": tar_tensors(offset=1)}, id="tensor past the end by one"),
        pytest.param({"tensors": tar_tensors(offset=-1)}, id="negative offset"),
        pytest.param({"tensors": tar_tensors(size=(-4,))}, id="negative size"),
        pytest.param({"tensors": tar_tensors(stride=(-1,))}, id="negative stride"),
        pytest.param({"tensors": tar_tensors(size=(1 << 62, 4), stride=(0, 1))}, id="giant tensor"),
        pytest.param({"tensors": tar_tensors(ndim=1 << 30)}, id="huge rank"),
        pytest.param({"tensors": tar_tensors(ndim=-1)}, id="negative rank"),
        pytest.param({"tensors": tar_tensors(of=7)}, id="tensor of no storage"),
        pytest.param({"tensors": tar_tensors(key=[2])}, id="tensor key a list"),
        pytest.param({"tensors": tar_tensors()[:-1]}, id="tensors cut"),
        pytest.param({"tensors": tar_tensors() + b"\0"}, id="bytes after the tensors"),
        pytest.param({"pickle": pickled({"w": Code(code("7") + b"Q")})}, id="no such tensor"),
        pytest.param({"pickle": pickled({"w": Code(code([2]) + b"Q")})}, id="persistent id a list"),
        pytest.param({"pickle": pickled({"w": Code(code("x") + b"Q")})}, id="persistent id no number"),
    ],
)
def test_refuses_a_tar_that_lies(refused: Refused, attack: dict[str, bytes]) -> None:
    refused(tar_checkpoint(**attack))  # type: ignore[arg-type]


def test_refuses_code_in_every_pickle_of_a_tar(refused: Refused, marker: str) -> None:
    bad = call(name("builtins", "eval"), f"open({marker!r}, 'w')")
    refused(tar_checkpoint(pickled({"w": bad})), error=UnsafePickleError)
    refused(tar_checkpoint(tensors=tar_tensors(key=bad)), error=UnsafePickleError)
    refused(tar_checkpoint(storages=tar_storages(key=bad)), error=UnsafePickleError)
    refused(tar_checkpoint(storages=tar_storages(views=[(bad, 1, 0, 4)])), error=UnsafePickleError)


def test_survives_sizes_that_a_tar_header_cannot_hold(survived: Any, refused: Refused) -> None:
    file = tar_checkpoint()
    size_field = slice(124, 136)
    for lie in (b"77777777777\0", b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7, b"\xff" * 12, b"-0000000001\0"):
        header = bytearray(file[:512])
        header[size_field] = lie
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        refused(bytes(header) + file[512:])
    survived(file[: len(file) // 2])


@pytest.mark.parametrize("part", range(1, 12))
def test_refuses_a_tar_that_is_cut(refused: Refused, part: int) -> None:
    end = tar_checkpoint().rstrip(b"\0")
    refused(end[: len(end) * part // 12])


# ------------------------------------------------------------------------------------- polyglots


def test_refuses_a_zip_after_a_legacy_stream(refused: Refused) -> None:
    refused(legacy_checkpoint() + zip_checkpoint(storages={"0": OTHER}))
    whole = legacy_checkpoint()
    refused(zip_checkpoint(storages={"0": OTHER}, prefix=whole))


def test_refuses_a_zip_after_a_tar(refused: Refused) -> None:
    refused(tar_checkpoint() + zip_checkpoint(storages={"0": OTHER}))
    refused(zip_checkpoint(storages={"0": OTHER}, prefix=tar_checkpoint()))


def test_refuses_a_zip_after_safetensors(refused: Refused) -> None:
    refused(safetensors() + zip_checkpoint())
    refused(zip_checkpoint(prefix=safetensors()))


def test_reads_a_zip_that_could_be_a_tar_as_a_zip(survived: Any) -> None:
    """The name of the first member puts the magic of a tar where a tar has it."""
    root = "x" * (257 - 30) + "ustar"
    survived(zip_archive(torch_members(root=root), alignment=1))


def test_reads_safetensors_that_hold_a_zip_as_safetensors(opened: Any) -> None:
    inner = zip_checkpoint(storages={"0": OTHER})
    assert opened(safetensors(metadata={"x": "PK\3\4" + "PK\5\6" + "\0" * 18}))["w"].tolist() == list(VALUES)
    entries = {"w": ("F32", [4], 0, 16), "x": ("U8", [len(inner)], 16, 16 + len(inner))}
    assert opened(safetensors(entries, FLOATS + inner))["w"].tolist() == list(VALUES)


def test_refuses_a_model_archive_of_torchserve(refused: Refused) -> None:
    refused(zip_archive([Member("MAR-INF/MANIFEST.json", b"{}"), *torch_members()]))
    refused(zip_archive([Member("MAR-INF/MANIFEST.json", b"{}"), Member("model.pt", zip_checkpoint())]))


def test_refuses_a_bare_pickle_that_runs_code(refused: Refused, marker: str) -> None:
    refused(pickled(call(name("builtins", "eval"), f"open({marker!r}, 'w')")))
    refused(pickled(ordered_dict({python2("w"): 1})))
