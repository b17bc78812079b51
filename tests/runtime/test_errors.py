"""How errors are said, and that they are values like others."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from hatch_wheelweights.errors import CheckpointError, ConfigError, Do, Fault, Place, RemapError, UnsafePickleError
from wheelweights.errors import (
    DtypeError,
    RecordError,
    WheelweightsError,
    backticked,
    counted,
    did_you_mean,
    listed,
    nearest,
    printable,
    quoted,
)
from wheelweights.report import BindError

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
        pytest.param({"position": "byte 7"}, "fact (at byte 7)", id="with a position"),
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
    faults = [Fault(Place(("records", 0, "source")), "one"), Fault(None, "two", ("detail",), Do("Do it."))]
    error = kind(*faults, path="m.pt") if kind is ConfigError else kind("fact", path="m.pt", position="byte 4", **parts)
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
    assert (error.fact, error.position) == ("fact", None)
    assert RecordError("fact", position="byte 4").position == "byte 4"


class Shout:
    """A text that is spelt when it is read."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


def test_parts_can_be_values_that_are_spelt_when_they_are_read() -> None:
    fact, detail, remedy = Shout("fact"), Shout("detail"), Shout("Do it.")
    error = RecordError(fact, path="m.mpk", key="w", position="byte 7", details=["plain", detail], remedy=remedy)
    assert (error.fact, error.details, error.remedy) == (fact, ("plain", detail), remedy)
    assert str(error) == error.message() == "m.mpk: tensor `w`: fact (at byte 7)\n  plain\n  detail\n  Do it."

    def spell(text: object) -> str:
        return text.text.upper() if isinstance(text, Shout) else str(text)

    assert error.message(spell) == "m.mpk: tensor `w`: FACT (at byte 7)\n  plain\n  DETAIL\n  DO IT."


def test_spells_neither_path_nor_key_nor_position() -> None:
    error = RecordError("fact", path="m.mpk", key="w", position="byte 7")
    assert error.message(lambda text: "spelt") == "m.mpk: tensor `w`: spelt (at byte 7)"


def test_a_fact_that_changes_changes_the_message() -> None:
    error = RecordError("fact", path="m.mpk")
    error.fact, error.position = "another", "byte 9"
    assert str(error) == "m.mpk: another (at byte 9)"


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


def test_bytes_are_cut_before_they_are_quoted() -> None:
    class Guarded(bytes):
        """Bytes of which nobody may quote all: there can be gigabytes of them, under many names."""

        def __repr__(self) -> str:
            pytest.fail("quoted all of it")

    assert quoted(Guarded(b"x" * 1000)) == "b'" + "x" * 75 + "..."


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


def test_finds_the_nearest_name_or_none() -> None:
    assert nearest("precison", ["precision", "reindex"]) == "precision"
    assert nearest("zzz", iter(["precision", "reindex"])) is None


@pytest.mark.parametrize(
    ("count", "what", "said"),
    [
        (0, "tensor", "0 tensors"),
        (1, "tensor", "1 tensor"),
        (2, "missing key", "2 missing keys"),
        (1_024, "value", "1,024 values"),
        (1, "shape mismatch", "1 shape mismatch"),
        (2, "shape mismatch", "2 shape mismatches"),
        (2, "wrong length", "2 wrong lengths"),
        (2, "class", "2 classes"),
        (2, "prefix", "2 prefixes"),
    ],
)
def test_counts_things(count: int, what: str, said: str) -> None:
    assert counted(count, what) == said


def test_shows_text_whole_with_its_control_characters_escaped() -> None:
    assert printable("a\x1b[31m\n\u202e\ud800ü" + "x" * 200) == r"a\x1b[31m\n\u202e\ud800ü" + "x" * 200
