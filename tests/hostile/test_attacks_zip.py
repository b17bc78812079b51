"""Zip archives that mean one thing to one reader and another to the next, or unpack to more than there is."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from making.checkpoints import torch_members, zip_checkpoint
from making.pickles import Code, code, pickled, state_dict, storage, tensor
from making.values import FLOATS, VALUES
from making.zips import Member, zip_archive, zip_end

if TYPE_CHECKING:
    from looking.opening import Refused

OTHER = struct.pack("<4f", 9, 9, 9, 9)
ZEROS = bytes(20_000_000)


def member(path: str, data: bytes = OTHER, **fields: Any) -> Member:
    """Return a further member under the root that torch writes."""
    return Member(f"archive/{path}", data, **fields)


# ------------------------------------------------------------------------------------- controls


@pytest.mark.parametrize("root", ["archive", "model", "epoch27.pth", "a b", "é", "x" * 200])
def test_opens_any_root(opened: Any, root: str) -> None:
    np.testing.assert_array_equal(opened(zip_checkpoint(root=root))["w"], VALUES)


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(zip_checkpoint(), id="as torch writes it"),
        pytest.param(zip_checkpoint(alignment=4096), id="aligned to 4096"),
        pytest.param(zip_checkpoint(alignment=1), id="unaligned"),
        pytest.param(
            zip_archive([replace(m, flags=0) for m in torch_members()], alignment=1), id="no data descriptors"
        ),
        pytest.param(zip_archive([replace(m, flags=0x800) for m in torch_members()]), id="sizes in the local headers"),
        pytest.param(zip_archive([replace(m, method=8) for m in torch_members()], alignment=1), id="deflated"),
        pytest.param(zip_archive([replace(m, method=8, flags=0) for m in torch_members()], alignment=1), id="rezipped"),
        pytest.param(zip_archive(reversed(torch_members())), id="in another order"),
        pytest.param(zip_archive(sorted(torch_members(), key=lambda m: m.name)), id="sorted"),
        pytest.param(zip_checkpoint(comment=b"a comment"), id="comment"),
        pytest.param(zip_archive([m for m in torch_members() if "byteorder" not in m.name]), id="no byteorder"),
        pytest.param(
            zip_archive([m for m in torch_members() if m.name.endswith(("pkl", "/0", "version"))]), id="torch 1.6"
        ),
        pytest.param(zip_checkpoint(extra=[Member("archive/", b"")]), id="dir_entry"),
        pytest.param(zip_checkpoint(extra=[Member("archive/data/", b"")]), id="dir_entry of the data"),
        pytest.param(zip_checkpoint(extra=[member("notes.txt")]), id="unknown member"),
        pytest.param(zip_checkpoint(extra=[member("data/1")]), id="storage that nothing names"),
        pytest.param(zip_checkpoint(extra=[member("inner.zip", zip_checkpoint())]), id="nested_zip"),
        pytest.param(zip_checkpoint(extra=[member("inner.7z", b"7z\xbc\xaf\x27\x1c" + bytes(64))]), id="7z_in_zip"),
        pytest.param(
            zip_checkpoint(state_dict(w=tensor(storage("94823274932928"))), {"94823274932928": FLOATS}),
            id="pointer key",
        ),
    ],
)
def test_opens_well_formed_archives(opened: Any, file: bytes) -> None:
    arrays = opened(file)
    assert list(arrays) == ["w"]
    np.testing.assert_array_equal(arrays["w"], np.array(VALUES, np.float32))


class Pipe(io.RawIOBase):
    """A file that cannot seek: what is written to it needs data descriptors."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
@pytest.mark.parametrize("zip64", [False, True], ids=["small", "zip64"])
@pytest.mark.parametrize("seekable", [True, False], ids=["seekable", "pipe"])
def test_opens_what_pythons_zipfile_writes(opened: Any, method: int, zip64: bool, seekable: bool) -> None:
    out: Any = io.BytesIO() if seekable else Pipe()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("archive/", b"")
        for each in torch_members():
            info = zipfile.ZipInfo(each.name, (2024, 1, 2, 3, 4, 6))
            info.compress_type, info.comment, info.external_attr = method, b"note", 0o644 << 16
            info.extra = b"UT\5\0\3\0\0\0\0"
            with archive.open(info, "w", force_zip64=zip64) as file:
                file.write(each.data)
        archive.comment = b"note"
    np.testing.assert_array_equal(opened(out.getvalue() if seekable else bytes(out.data))["w"], VALUES)


@pytest.mark.parametrize("signature", [b"PK\7\x08", b""], ids=["signature", "no signature"])
@pytest.mark.parametrize("sizes", ["<3I", "<I2Q"], ids=["small", "zip64"])
def test_opens_every_form_of_data_descriptor(opened: Any, signature: bytes, sizes: str) -> None:
    out, directory, members = bytearray(), bytearray(), torch_members()
    for each in members:
        directory += each.central_header(len(out))
        out += each.local_header(len(out)) + each.body + signature + struct.pack(sizes, *each.claims)
    file = bytes(out + directory) + zip_end(len(out), len(directory), len(members))
    np.testing.assert_array_equal(opened(file)["w"], VALUES)


@pytest.mark.parametrize("name", ["model.txt", "model.safetensors", "model", "model.pth.tar", "model.mpk"])
def test_tells_a_file_by_its_content_and_not_by_its_name(opened: Any, name: str) -> None:
    np.testing.assert_array_equal(opened(zip_checkpoint(), name=name)["w"], VALUES)


def test_swaps_big_endian_data(opened: Any) -> None:
    swapped = struct.pack(">4f", *VALUES)
    np.testing.assert_array_equal(opened(zip_checkpoint(storages={"0": swapped}, byteorder="big"))["w"], VALUES)


def test_opens_large_deflated_zeros_that_a_tensor_needs(opened: Any) -> None:
    """The ratio is that of a bomb, but every byte of it was asked for."""
    pickle = state_dict(w=tensor(storage(numel=2_000_000), size=(2_000_000,)))
    array = opened(zip_checkpoint(pickle, {"0": bytes(8_000_000)}, change={"data/0": {"method": 8}}))["w"]
    assert array.shape == (2_000_000,)
    assert not array.any()


# ------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        pytest.param(member("data/0"), "two members", id="dup_data0"),
        pytest.param(member("data/0", FLOATS), "two members", id="dup_data0 with the same content"),
        pytest.param(member("data.pkl", state_dict()), "two members", id="dup_pkl"),
        pytest.param(member("byteorder", b"big"), "two members", id="dup_byteorder"),
        pytest.param(member("notes"), "", id="control: no duplicate"),
        pytest.param(member("DATA.PKL", state_dict()), "", id="case_both data.pkl"),
        pytest.param(member("DATA/0"), "", id="case_both data/0"),
        pytest.param(Member("ARCHIVE/data/0", OTHER), "", id="case_both root"),
        pytest.param(Member("other/data.pkl", state_dict()), "", id="two_roots"),
        pytest.param(Member("other/notes", b""), "", id="two_roots with a note"),
        pytest.param(Member("data.pkl", state_dict()), "", id="member at the top"),
        pytest.param(Member("notes", b""), "", id="note at the top"),
        pytest.param(Member("archive/../archive/data/0", OTHER), "", id="dots"),
        pytest.param(Member("archive/./data/0", OTHER), "", id="dot"),
        pytest.param(Member("archive//data/0", OTHER), "", id="two slashes"),
        pytest.param(Member("../../../tmp/x", OTHER), "", id="traversal"),
        pytest.param(Member("archive/../../x", OTHER), "", id="traversal under the root"),
        pytest.param(Member("/etc/passwd", OTHER), "", id="absolute"),
        pytest.param(Member("C:/x", OTHER), "", id="drive"),
        pytest.param(Member("archive/data/0\x00.txt", OTHER), "", id="NUL that cuts to a duplicate"),
        pytest.param(Member("", OTHER), "", id="no name"),
        pytest.param(Member("archive/\x1b[31m\n", OTHER), "", id="control characters"),
    ],
)
def test_refuses_names_that_could_be_taken_for_others(
    refused: Refused, opened: Any, extra: Member, says: str, request: pytest.FixtureRequest
) -> None:
    first_and_last = [zip_archive([extra, *torch_members()]), zip_archive([*torch_members(), extra])]
    for file in first_and_last:
        if "control: " in request.node.name or extra.name.endswith("\n"):
            opened(file)
        else:
            refused(file, says)


def test_refuses_two_whole_archives_in_one(refused: Refused) -> None:
    refused(zip_archive([*torch_members(root="first"), *torch_members(storages={"0": OTHER}, root="second")]))


def test_refuses_members_in_another_case(refused: Refused) -> None:
    refused(zip_checkpoint(change={"data.pkl": {"name": "archive/DATA.PKL"}}), "data.pkl")
    refused(zip_checkpoint(change={"data/0": {"name": "archive/DATA/0"}}), "data/0")


def test_refuses_or_ignores_backslashes(refused: Refused, survived: Any) -> None:
    refused(zip_checkpoint(change={"data.pkl": {"name": "archive\\data.pkl"}}))
    survived(zip_checkpoint(extra=[Member("archive\\data.pkl", pickled({"w": tensor(size=(1,))}))]))
    survived(zip_checkpoint(extra=[member("data\\0")]))


def test_refuses_a_name_that_differs_from_its_local_header(refused: Refused) -> None:
    for path, other in [("data/0", "archive/data/1"), ("data.pkl", "archive/else.pkl"), ("version", "archive/versio2")]:
        refused(zip_checkpoint(change={path: {"local": {"name": other}}}), path.split("/")[-1])


def test_writes_nothing_beside_the_file(refused: Refused, tmp_path: Any) -> None:
    refused(zip_checkpoint(extra=[Member("../escaped", OTHER), Member("archive/../../escaped", OTHER)]))
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
    assert not (tmp_path.parent / "escaped").exists()


# ------------------------------------------------------------------------------------- flags and method


@pytest.mark.parametrize("path", ["data.pkl", "data/0", "version"])
@pytest.mark.parametrize("flag", [0x1, 0x20, 0x40, 0x2000, 0x10, 0x8000])
def test_refuses_flags_that_torch_never_sets(refused: Refused, path: str, flag: int) -> None:
    refused(zip_checkpoint(change={path: {"flags": 0x808 | flag}}), path)


@pytest.mark.parametrize("path", ["data.pkl", "data/0"])
@pytest.mark.parametrize("flags", [0x809, 0x828, 0x848, 0x2808, 0x800, 0x8, 0])
def test_refuses_flags_that_differ_from_the_local_header(refused: Refused, path: str, flags: int) -> None:
    refused(zip_checkpoint(change={path: {"local": {"flags": flags}}}), path)


@pytest.mark.parametrize("path", ["data.pkl", "data/0"])
def test_refuses_a_method_that_differs_from_the_local_header(refused: Refused, path: str) -> None:
    refused(zip_checkpoint(change={path: {"local": {"method": 8}}}), path)
    refused(zip_checkpoint(change={path: {"method": 8, "local": {"method": 0}}}), path)


@pytest.mark.parametrize("method", [1, 6, 9, 12, 14, 93, 95, 99, 65535])
def test_refuses_methods_other_than_stored_and_deflated(refused: Refused, method: int) -> None:
    refused(zip_checkpoint(change={"data/0": {"method": method}}), "data/0")


@pytest.mark.parametrize("field", [{"crc": 1}, {"size": 15}, {"packed": 5}, {"size": 1 << 31}])
def test_refuses_numbers_that_differ_from_the_local_header(refused: Refused, field: dict[str, int]) -> None:
    refused(zip_checkpoint(change={"data/0": {"flags": 0x800, "local": field}}), "data/0")


# ------------------------------------------------------------------------------------- crc and sizes


@pytest.mark.parametrize("path", ["data.pkl", "data/0"])
@pytest.mark.parametrize("method", [0, 8], ids=["stored", "deflated"])
def test_refuses_a_wrong_crc(refused: Refused, path: str, method: int) -> None:
    refused(zip_checkpoint(change={path: {"crc": 0xDEADBEEF, "method": method}}), path, "crc")
    two = state_dict(w=tensor(storage("0")), v=tensor(storage("1")))
    change = {path: {"crc": 0, "method": method}}
    refused(zip_checkpoint(two, {"0": FLOATS, "1": OTHER}, change=change), path, "crc")


def test_refuses_a_flipped_bit(refused: Refused) -> None:
    file = zip_checkpoint()
    at = file.index(FLOATS)
    refused(file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :], "data/0", "crc")


def test_opens_an_archive_whose_crcs_were_turned_off(opened: Any) -> None:
    """That is `torch.serialization.set_crc32_options(False)`: all of them are 0 then."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arrays = opened(zip_archive([replace(member, crc=0) for member in torch_members()]))
    np.testing.assert_array_equal(arrays["w"], VALUES)


@pytest.mark.parametrize("size", [0, 8, 12, 15, 17, 20, 416])
@pytest.mark.parametrize("method", [0, 8], ids=["stored", "deflated"])
def test_refuses_a_storage_of_another_size_than_its_tensors_need(refused: Refused, size: int, method: int) -> None:
    refused(
        zip_checkpoint(storages={"0": (FLOATS * 26)[:size]}, change={"data/0": {"method": method}}), "16", f"{size}"
    )


def test_refuses_a_storage_that_is_not_there(refused: Refused) -> None:
    refused(zip_checkpoint(storages={}), "data/0")


@pytest.mark.parametrize("path", ["data.pkl", "data/0"])
@pytest.mark.parametrize(
    "lie",
    [
        {"size": 1 << 60},
        {"packed": 1 << 60},
        {"size": 1 << 60, "packed": 1 << 60},
        {"size": (1 << 64) - 1, "packed": (1 << 64) - 1},
        {"size": 1 << 31, "packed": 1 << 31},
        {"packed": 0},
        {"size": 0},
        {"size": 15},
        {"size": 17},
        {"packed": 17},
        {"packed": 5},
        {"size": 17, "packed": 17},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", [0, 8], ids=["stored", "deflated"])
def test_refuses_lies_about_sizes(refused: Refused, path: str, lie: dict[str, int], method: int) -> None:
    refused(zip_checkpoint(change={path: {**lie, "method": method}}))


@pytest.mark.parametrize("offset", [1, 63, 1 << 20, 0xFFFFFFFE, 0xFFFFFFFF])
def test_refuses_a_member_that_is_not_where_the_directory_says(refused: Refused, offset: int) -> None:
    refused(zip_checkpoint(change={"data/0": {"offset": offset}}), "data/0")


@pytest.mark.parametrize("byteorder", ["middle", "", "LITTLE", "little\n", "big " * 100, "\x1b[31m", "li\x00tle"])
def test_refuses_a_byteorder_that_is_neither(refused: Refused, byteorder: str) -> None:
    refused(zip_checkpoint(byteorder=byteorder), "byteorder")


def test_refuses_a_byteorder_that_is_no_text(refused: Refused) -> None:
    refused(zip_checkpoint(change={"byteorder": {"data": b"\xff\xfe"}}), "byteorder")


# ------------------------------------------------------------------------------------- bombs


def test_refuses_a_deflated_storage_that_nothing_needs(refused: Refused) -> None:
    bomb = zip_checkpoint(storages={"0": ZEROS}, change={"data/0": {"method": 8}})
    assert len(bomb) < 30_000
    refused(bomb, budget=4 << 20)


def test_refuses_a_deflated_storage_that_hides_its_size(refused: Refused) -> None:
    for lie in ({"size": 16}, {"size": 0}, {"size": 1 << 60}):
        bomb = zip_checkpoint(storages={"0": ZEROS}, change={"data/0": {"method": 8, **lie}})
        refused(bomb, budget=4 << 20)


@pytest.mark.parametrize("lie", [{}, {"size": 100}, {"size": 1 << 60}], ids=str)
def test_refuses_a_pickle_that_is_a_bomb(refused: Refused, lie: dict[str, int]) -> None:
    long_text = Code(b"X" + struct.pack("<I", 20_000_000) + ZEROS)
    bomb = zip_checkpoint(pickled({"w": tensor(), "x": long_text}), change={"data.pkl": {"method": 8, **lie}})
    refused(bomb, "data.pkl", budget=24 << 20)


def test_refuses_a_pickle_of_many_deflated_opcodes(refused: Refused) -> None:
    bomb = zip_checkpoint(b"\x80\x02" + b"N0" * 5_000_000 + state_dict()[2:], change={"data.pkl": {"method": 8}})
    refused(bomb, "data.pkl", budget=24 << 20)


def test_survives_a_bomb_that_is_not_asked_for(survived: Any) -> None:
    survived(zip_checkpoint(extra=[member("data/1", ZEROS, method=8)]), budget=4 << 20)
    survived(zip_checkpoint(change={"byteorder": {"data": ZEROS, "method": 8}}), budget=4 << 20)
    survived(zip_checkpoint(change={"version": {"data": ZEROS, "method": 8}}), budget=4 << 20)


def test_refuses_members_that_share_their_bytes(refused: Refused) -> None:
    """All storages are one member, named over and over in the directory."""
    count = 50
    keys = [str(number) for number in range(count)]
    pickle = state_dict(**{key: tensor(storage(key)) for key in keys})
    members = torch_members(pickle, dict.fromkeys(keys, FLOATS))
    at = zip_archive(members).index(b"PK\3\4", zip_archive(members).index(b"archive/byteorder"))
    same = [replace(each, offset=at) if "/data/" in each.name else each for each in members]
    refused(zip_archive(same))


def test_refuses_members_that_quote_each_other(refused: Refused) -> None:
    """A stored member holds the local header and the data of the next one (Fifield's zip bomb)."""
    inner = Member("archive/data/1", FLOATS, flags=0)
    quoted = inner.local_header(alignment=1) + FLOATS
    outer = Member("archive/data/0", quoted, flags=0)
    pickle = state_dict(w=tensor(storage(numel=len(quoted) // 4), size=(1,)), x=tensor(storage("1")))
    members = [m for m in torch_members(pickle) if m.name != outer.name]
    plain = zip_archive([outer, *members], alignment=1)
    at = plain.index(quoted)
    padded = replace(inner, offset=at)
    honest = zip_archive([outer, *members], alignment=1)
    directory = honest.index(b"PK\1\2")
    end = honest.index(b"PK\6\6")
    entries = honest[directory:end] + padded.central_header(0)
    file = honest[:directory] + entries + _end(directory, len(entries), len(members) + 2)
    refused(file, "data/")


def _end(at: int, size: int, count: int) -> bytes:
    return struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, count, count, size, at, 0)


def test_opens_an_archive_without_zip64_records(opened: Any) -> None:
    file = zip_checkpoint()
    directory, end = file.index(b"PK\1\2"), file.index(b"PK\6\6")
    assert list(opened(file[:end] + _end(directory, end - directory, 7))) == ["w"]


# ------------------------------------------------------------------------------------- whole archive


@pytest.mark.parametrize("junk", [b"\0", b"#!/bin/sh\n", b"MZ" + bytes(62), b"PK\3\4", bytes(64)])
def test_refuses_bytes_before_the_archive(refused: Refused, junk: bytes) -> None:
    refused(junk + zip_checkpoint())
    refused(zip_checkpoint(prefix=junk))


def test_refuses_an_archive_before_the_archive(refused: Refused) -> None:
    refused(zip_checkpoint() + zip_checkpoint())
    refused(zip_checkpoint(prefix=zip_checkpoint(storages={"0": OTHER})))


@pytest.mark.parametrize("junk", [b"\0", b"\n", b"trailing", bytes(100), b"PK\5\6", b"PK\5\6" + bytes(18)])
def test_refuses_bytes_after_the_archive(refused: Refused, junk: bytes) -> None:
    refused(zip_checkpoint() + junk)


def test_refuses_bytes_between_the_members_and_the_directory(refused: Refused) -> None:
    """A second, hidden directory there would be another archive to another reader."""
    file = zip_checkpoint()
    directory = file.index(b"PK\1\2")
    end = file.index(b"PK\6\6")
    other = zip_checkpoint(storages={"0": OTHER})
    hidden = other[other.index(b"PK\1\2") :]
    moved = file[:directory] + hidden + file[directory:end]
    refused_or_right = moved + _end(directory + len(hidden), end - directory, 7)
    refused(refused_or_right)


@pytest.mark.parametrize("count", [0, 6, 8, 65535, 1 << 40, (1 << 64) - 1])
def test_refuses_a_wrong_number_of_entries(refused: Refused, count: int) -> None:
    file = zip_checkpoint()
    directory, end = file.index(b"PK\1\2"), file.index(b"PK\6\6")
    if count <= 65535:
        refused(file[:end] + _end(directory, end - directory, count))
    zip64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, end - directory, directory)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    closing = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    refused(file[:end] + zip64 + locator + closing)


@pytest.mark.parametrize("end", [(0, 0), (1, 0), (1 << 31, 100), (100, 1 << 31), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_refuses_a_directory_that_is_elsewhere(refused: Refused, end: tuple[int, int]) -> None:
    file = zip_checkpoint()
    refused(file[: file.index(b"PK\6\6")] + _end(*end, 7))


def test_refuses_zip64_ends_that_disagree(refused: Refused) -> None:
    """The plain end says one directory, the zip64 end another one."""
    file = zip_checkpoint()
    other = zip_checkpoint(storages={"0": OTHER})
    both = other[: other.index(b"PK\6\6")]
    directory, end = file.index(b"PK\1\2"), file.index(b"PK\6\6")
    size = end - directory
    zip64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 7, 7, size, len(both) + directory)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(both) + end, 1)
    refused(both + file[:end] + zip64 + locator + _end(directory, size, 7))


def test_refuses_a_comment_that_looks_like_an_end(refused: Refused) -> None:
    """Half of the readers would take it for one."""
    refused(zip_checkpoint(comment=b"PK\5\6" + bytes(18)))


def test_refuses_an_archive_of_several_disks(refused: Refused) -> None:
    file = zip_checkpoint()
    at = file.rindex(b"PK\5\6") + 4
    refused(file[:at] + struct.pack("<2H", 1, 1) + file[at + 4 :])


@pytest.mark.parametrize("part", range(1, 20))
def test_refuses_an_archive_that_is_cut(refused: Refused, part: int) -> None:
    file = zip_checkpoint()
    refused(file[: len(file) * part // 20])


def test_refuses_an_archive_with_nothing_in_it(refused: Refused) -> None:
    refused(zip_archive([]))
    refused(_end(0, 0, 0))
    refused(zip_archive([Member("archive/version", b"3\n")]), "data.pkl")


def test_opens_thousands_of_small_storages(opened: Any) -> None:
    keys = [str(number) for number in range(3_000)]
    pickle = state_dict(**{f"k{key}": tensor(storage(key, numel=1), size=(1,)) for key in keys})
    arrays = opened(zip_checkpoint(pickle, dict.fromkeys(keys, FLOATS[:4]), alignment=1))
    assert len(arrays) == 3_000


def test_says_where_in_the_archive_a_pickle_is_bad(refused: Refused) -> None:
    refused(zip_checkpoint(b"\x80\x02" + code({"w": 1}) + b"\xff."), "archive/data.pkl")
