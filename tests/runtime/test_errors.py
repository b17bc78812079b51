"""How errors are said, and that they are values like others."""

from __future__ import annotations

import copy
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest

from hatch_wheelweights.errors import CheckpointError, ConfigError, RemapError, UnsafePickleError
from wheelweights.errors import (
    BindError,
    DtypeError,
    RecordError,
    WheelweightsError,
    backticked,
    did_you_mean,
    listed,
    quoted,
    what_it_is,
)

ALL = [
    WheelweightsError, RecordError, DtypeError, BindError, CheckpointError, UnsafePickleError, ConfigError, RemapError,
]  # fmt: skip


def test_composes_subject_fact_details_and_remedy() -> None:
    error = RecordError(
        "expected 1, found 2", path="a/model.mpk", key="fc.weight", details=["one", "two"], remedy="Do this."
    )
    assert str(error) == (
        "a/model.mpk: tensor `fc.weight`: expected 1, found 2\n"
        "  one\n"
        "  two\n"
        "  Do this."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        pytest.param({}, "fact", id="the fact alone"),
        pytest.param({"path": "m.pt"}, "m.pt: fact", id="with a path"),
        pytest.param({"path": Path("m.pt")}, "m.pt: fact", id="with a Path"),
        pytest.param({"key": "w"}, "tensor `w`: fact", id="with a key"),
        pytest.param({"key": ""}, "tensor ``: fact", id="with an empty key"),
        pytest.param({"path": "", "remedy": ""}, ": fact", id="with nothing in them"),
        pytest.param({"remedy": "Stop."}, "fact\n  Stop.", id="with a remedy"),
        pytest.param({"details": ["a"]}, "fact\n  a", id="with a detail"),
    ],
)
def test_leaves_out_what_is_not_known(parts: dict[str, Any], message: str) -> None:
    assert str(WheelweightsError("fact", **parts)) == message


def test_what_is_known_later_is_filled_in() -> None:
    error = DtypeError("fact")
    error.path, error.key = "model.mpk", "w"
    assert str(error) == "model.mpk: tensor `w`: fact"


def test_escapes_control_characters_of_paths_and_keys() -> None:
    error = RecordError("fact", path="a\x1b[31m\n.mpk", key="\x07\u202e\ud800w\u00e9")
    assert str(error) == r"a\x1b[31m\n.mpk: tensor `\x07\u202e\ud800wé`: fact"


@pytest.mark.parametrize("kind", ALL)
def test_every_error_has_one_base_and_a_builtin_one(kind: type[WheelweightsError]) -> None:
    assert issubclass(kind, WheelweightsError)
    if kind is not WheelweightsError:
        assert issubclass(kind, TypeError if kind is DtypeError else ValueError)


@pytest.mark.parametrize("kind", ALL)
def test_every_error_can_be_pickled_copied_and_hashed(kind: Any) -> None:
    error: Any
    parts = {"key": "w", "expected": 1, "found": "two", "details": ["detail"], "remedy": "Do it."}
    error = kind(["a: one", "b: two"], path="m.pt") if kind is ConfigError else kind("fact", path="m.pt", **parts)
    error.report = {"missing": ["w"]}
    for again in (*(pickle.loads(pickle.dumps(error, protocol)) for protocol in range(6)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert vars(again) == vars(error)
    assert {error: 1}[error] == 1


def test_parts_are_attributes() -> None:
    error = RecordError("fact", path=Path("m.mpk"), key="w", expected=4, found=5, details=iter("ab"), remedy="Do it.")
    assert (error.path, error.key, error.expected, error.found) == ("m.mpk", "w", 4, 5)
    assert (error.details, error.remedy, error.args) == (("a", "b"), "Do it.", ("fact",))


# ------------------------------------------------------------------------------------------------------------ free text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "'plain'"),
        ("it's", '"it\'s"'),
        ("\x1b[2J", r"'\x1b[2J'"),
        ("line\nline", r"'line\nline'"),
        (b"\x00\xffab", r"b'\x00\xffab'"),
        (7, "'7'"),
        ("", "''"),
        ("x" * 78, f"'{'x' * 78}'"),
        ("x" * 79, f"'{'x' * 76}..."),
        ("x" * 10_000, f"'{'x' * 76}..."),
        ("\x00" * 30, "'" + r"\x00" * 19 + "..."),
    ],
)
def test_quotes_free_text_and_cuts_it_at_80_characters(text: object, shown: str) -> None:
    assert quoted(text) == shown
    assert len(shown) <= 80


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("conv1.weight", "`conv1.weight`"),
        ("a b", "`a b`"),
        ("\x1b[2J", r"`\x1b[2J`"),
        ("ümläut", "`ümläut`"),
        ("x" * 80, f"`{'x' * 80}`"),
        ("x" * 81, f"`{'x' * 77}...`"),
        (None, "`None`"),
    ],
)
def test_puts_names_in_backticks_and_cuts_them_at_80_characters(name: object, shown: str) -> None:
    assert backticked(name) == shown


def test_escaped_names_stay_short() -> None:
    assert len(backticked("\U000e0001" * 100_000)) < 1_000


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([], "none"),
        (["b", "a"], "`a`, `b`"),
        ([2, 10, "a"], "`10`, `2`, `a`"),
        ("abcdefgh", "`a`, `b`, `c`, `d`, `e`, `f`, `g`, `h`"),
        ("ihgfedcba", "`a`, `b`, `c`, `d`, `e`, `f`, `g`, `h` and 1 more"),
        ([f"{number:05}" for number in range(1_008)], ", ".join(f"`0000{n}`" for n in range(8)) + " and 1,000 more"),
    ],
)
def test_lists_the_first_eight_sorted(names: Any, shown: str) -> None:
    assert listed(names) == shown


def test_lists_nothing_in_words_of_the_caller() -> None:
    assert listed([], empty="no tensors") == "no tensors"


def test_suggests_the_nearest_name_or_none() -> None:
    known = ["precision", "reindex", "top-level-key"]
    assert did_you_mean("precison", known) == "Did you mean `precision`?"
    assert did_you_mean("top_level_key", iter(known)) == "Did you mean `top-level-key`?"
    assert did_you_mean("zzz", known) is None
    assert did_you_mean("precision", []) is None


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"\x87\xa6format\xacwheelweights\xa7version\1", "a wheelweights record"),
        (b"PK\3\4", "a zip archive (a PyTorch checkpoint or a wheel)"),
        (bytes.fromhex("80028a0a6cfc9c46f9206aa850192e"), "a PyTorch checkpoint (torch < 1.6)"),
        (b"\x83\xa8metadata", "a record written by Burn"),
        (b"\x80\2}", "a pickle"),
        (b" \n<html>", "an HTML page (a failed download)"),
        (b"<!doctype HTML>", "an HTML page (a failed download)"),
        (struct.pack("<Q", 8) + b"{}", "a safetensors file"),
        (struct.pack("<Q", 1 << 40) + b"{}", r"a file that begins with b'\x00\x00\x00\x00\x00\x01\x00\x00{}'"),
        (b"hello", "a file that begins with b'hello'"),
        (b"\x1b" * 99, "a file that begins with b'" + r"\x1b" * 16 + "'"),
    ],
)
def test_tells_a_file_by_its_first_bytes(head: bytes, kind: str) -> None:
    assert what_it_is(head) == kind
