"""What real pickles of Python, numpy and torch hold, as plain values and as fields of dataclasses."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime as dt
import enum
import io
import json
import pickle
import types
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hatch_wheelweights import load_config, open_checkpoint
from hatch_wheelweights.checkpoint import Account, Global, LazyTensor, Opaque
from hatch_wheelweights.errors import CheckpointError
from hatch_wheelweights.steps.configuration import configuration
from hatch_wheelweights.steps.plain_values import MAX_NUMBERS, Values
from making import checkpoints
from making.pickles import call, code, name
from wheelweights import open_record, write_record
from wheelweights.config import Formless, build

PROTOCOLS = [2, 4, 5]


class Mode(enum.Enum):
    A = "a"
    B = "b"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Kind(enum.StrEnum):
    X = "x"
    low = "y"


class Perm(enum.Flag):
    READ = 1
    WRITE = 2


class Bits(enum.IntFlag):
    ONE = 1
    TWO = 2


class Window(enum.Enum):
    SMALL = (3, 3)


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Inner:
    dim: int
    name: str = "net"


@dataclass(frozen=True, slots=True)
class Frozen:
    dim: int
    name: str


@dataclass(slots=True)
class Slotted:
    dim: int
    name: str


class Words(str):  # noqa: SLOT000 (as people write it)
    pass


class Table(dict[str, int]):
    pass


class Row(list[int]):
    pass


class Plain:
    def __init__(self) -> None:
        self.dim = 1
        self._hidden = 2


@dataclass
class Everything:
    mode: Mode
    level: Level
    kind: Kind
    perm: Perm
    bits: Bits
    window: Window
    point: Point
    pair: tuple[int, int]
    inner: Inner
    frozen: Frozen
    slotted: Slotted
    words: str
    table: dict[str, int]
    row: list[int]
    plain: dict[str, int]
    namespace: Inner
    simple: dict[str, int]
    user_dict: dict[str, int]
    date: dt.date
    naive: dt.datetime
    aware: dt.datetime
    offset: dt.datetime
    time: dt.time
    duration: dt.timedelta
    decimal: Decimal
    fraction: Fraction
    uuid: uuid.UUID
    numbers: list[int]
    slice: tuple[int | None, int | None, int | None]
    raw: bytes
    bytearray: bytes
    complex: complex
    path: Path
    pure: PurePosixPath
    array: list[float]
    matrix: list[list[int]]
    scalar: float
    zero_axes: int
    tags: set[str]
    counter: dict[str, int]
    modes: list[Mode]
    by_name: dict[str, Mode]


ZONE = dt.timezone(dt.timedelta(hours=-2, minutes=-30))
VALUES: dict[str, Any] = {
    "mode": Mode.B,
    "level": Level.HIGH,
    "kind": Kind.low,
    "perm": Perm.READ | Perm.WRITE,
    "bits": Bits.TWO,
    "window": Window.SMALL,
    "point": Point(1, 2),
    "pair": Point(1, 2),
    "inner": Inner(3),
    "frozen": Frozen(4, "f"),
    "slotted": Slotted(5, "s"),
    "words": Words("text"),
    "table": Table(a=1),
    "row": Row([1, 2]),
    "plain": Plain(),
    "namespace": argparse.Namespace(dim=6, name="n"),
    "simple": types.SimpleNamespace(a=1),
    "user_dict": Table(b=2),
    "date": dt.date(2024, 1, 2),
    "naive": dt.datetime(2024, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001 (people save such)
    "aware": dt.datetime(2024, 1, 2, tzinfo=dt.UTC),
    "offset": dt.datetime(2024, 1, 2, tzinfo=ZONE),
    "time": dt.time(1, 2, 3),
    "duration": dt.timedelta(days=1, microseconds=5),
    "decimal": Decimal("1.50"),
    "fraction": Fraction(1, 3),
    "uuid": uuid.UUID(int=5),
    "numbers": range(0, 10, 3),
    "slice": slice(1, None, 2),
    "raw": b"ab\xff",
    "bytearray": bytearray(b"x"),
    "complex": 1 + 2j,
    "path": Path("a/b"),
    "pure": PurePosixPath("/x"),
    "array": np.array([0.5, 1.5], np.float32),
    "matrix": np.arange(4).reshape(2, 2),
    "scalar": np.float64(0.25),
    "zero_axes": np.array(7),
    "tags": {"a", "b"},
    "counter": collections.Counter("aab"),
    "modes": [Mode.A, Mode.B],
    "by_name": {"x": Mode.A},
}
EXPECTED = Everything(
    **{
        **VALUES,
        "pair": (1, 2),
        "words": "text",
        "plain": {"dim": 1, "_hidden": 2},
        "namespace": Inner(6, "n"),
        "simple": {"a": 1},
        "numbers": [0, 3, 6, 9],
        "slice": (1, None, 2),
        "bytearray": b"x",
        "array": [0.5, 1.5],
        "matrix": [[0, 1], [2, 3]],
    }
)


def saved(tmp_path: Path, value: Any, protocol: int = 2) -> Path:
    path = tmp_path / "model.pt"
    path.write_bytes(checkpoints.zip_checkpoint(pickle.dumps({"config": value}, protocol)))
    return path


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_real_pickles_fill_the_fields_of_a_dataclass(protocol: int, tmp_path: Path) -> None:
    assert load_config(saved(tmp_path, VALUES, protocol), "config", Everything) == EXPECTED


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_record_keeps_fills_the_same_fields(protocol: int, tmp_path: Path) -> None:
    with open_checkpoint(saved(tmp_path, VALUES, protocol)) as checkpoint:
        found = checkpoint.configuration("config")
    assert found.warnings == (
        "config.raw: left out of the configuration: expected a value that JSON has, found `bytes`",
        "config.bytearray: left out of the configuration: expected a value that JSON has, found `bytes`",
        "config.complex: left out of the configuration: expected a value that JSON has, found `complex`",
    )
    assert found.value["frozen"] == [4, "f"]  # the pickle of a frozen dataclass with slots does not name its fields
    write_record(tmp_path / "r.mpk", {}, metadata={"config": json.loads(json.dumps(found.value))})
    left_out = {"raw": b"", "bytearray": b"", "complex": 0j, "frozen": None}
    kept = [
        (one.name, one.type if one.name not in left_out else Any, field(default=left_out.get(one.name)))
        for one in dataclasses.fields(Everything)
        if one.name not in left_out
    ]
    everything_kept = dataclasses.make_dataclass("Kept", kept, namespace={"__module__": __name__})
    built: Any = open_record(tmp_path / "r.mpk").config(everything_kept)
    assert {key: getattr(built, key) for key, *_ in kept} == {key: getattr(EXPECTED, key) for key, *_ in kept}


def test_plain_forms_read_like_the_values(tmp_path: Path) -> None:
    with open_checkpoint(saved(tmp_path, VALUES)) as checkpoint:
        found = checkpoint.configuration("config").value
    assert {key: found[key] for key in ("mode", "level", "kind", "perm", "window", "point")} == {
        "mode": "b",
        "level": 2,
        "kind": "y",
        "perm": 3,
        "window": [3, 3],
        "point": [1, 2],
    }
    assert {key: found[key] for key in ("naive", "aware", "offset", "time", "duration", "decimal", "fraction")} == {
        "naive": "2024-01-02T03:04:05.000006",
        "aware": "2024-01-02T00:00:00+00:00",
        "offset": "2024-01-02T00:00:00-02:30",
        "time": "01:02:03",
        "duration": "P1DT0.000005S",
        "decimal": "1.50",
        "fraction": "1/3",
    }


def opened(value: Any) -> Any:
    found = Values(Account(1 << 20)).open(value)
    return found.found if isinstance(found, Formless) else found


@pytest.mark.parametrize("member", ["B", "low"])
def test_a_member_pickled_by_its_name_fills_a_field_that_declares_its_enum(member: str, tmp_path: Path) -> None:
    @dataclass
    class Config:
        x: Any

    cls = {"B": Mode, "low": Kind}[member]
    Config.__annotations__ = {"x": cls}
    by_name = call(name("builtins", "getattr"), name("mynet", cls.__name__), member)  # as Python 3.11.0 does
    path = tmp_path / "model.pt"
    path.write_bytes(checkpoints.zip_checkpoint(b"\x80\x02" + code({"config": {"x": by_name}}) + b"."))
    assert load_config(path, "config", Config).x is cls[member]
    with open_checkpoint(path) as checkpoint:
        node = checkpoint.tree["config"]["x"]
    # In small letters, it may as well be a method of a class
    assert opened(node) == ("B" if member == "B" else "the class or function `mynet.Kind.low`")


def test_objects_give_their_fields_without_bookkeeping() -> None:
    state = {
        "__dict__": {"x": 1},
        "__pydantic_extra__": {"y": 2},
        "__pydantic_fields_set__": {"x"},
        "__pydantic_private__": None,
    }
    assert opened(Opaque("mynet", "Model", (), state)) == {"x": 1, "y": 2}
    assert opened(Opaque("mynet", "Model", (), {**state, "__pydantic_extra__": None})) == {"x": 1}
    fields = {"_fields": {"a": 1}, "_locked": True, "_type_safe": True}
    assert opened(Opaque("ml_collections.config_dict.config_dict", "ConfigDict", (), fields)) == {"a": 1}
    assert opened(Opaque("collections", "UserDict", (), {"data": {"a": 1}})) == {"a": 1}
    assert opened(Opaque("mynet", "AttrDict")) == {}
    assert opened(Opaque("mynet", "FreeList")) == []
    assert opened(Opaque("pytz", "_UTC")) == "an object of class `pytz._UTC`"
    assert opened(Opaque("datetime", "time", (b"\x01\x02\x03\x00\x00\x00", Opaque("pytz", "_UTC")))) == "01:02:03+00:00"


def _tensor(shape: tuple[int, ...], values: Any, dtype: str = "float32") -> LazyTensor:
    return LazyTensor(dtype, shape, lambda: iter([np.asarray(values, dtype).reshape(-1)]), tie=object())


def test_small_tensors_are_nested_lists() -> None:
    assert opened(_tensor((2, 2), [0.5, 1, 2, 3])) == [[0.5, 1.0], [2.0, 3.0]]
    assert opened(_tensor((), 3, "int64")) == 3
    assert opened(_tensor((0, 2), [])) == []
    assert opened(_tensor((MAX_NUMBERS,), np.zeros(MAX_NUMBERS))) == [0.0] * MAX_NUMBERS


@pytest.mark.parametrize("shape", [(MAX_NUMBERS + 1,), (1 << 40, 0), (0, 1 << 40)], ids=str)
def test_large_tensors_stay_unread(shape: tuple[int, ...]) -> None:
    def read() -> Any:
        raise AssertionError

    assert opened(LazyTensor("float32", shape, read, tie=0)) == f"a tensor (`float32`, shape {shape})"


def test_a_tensor_that_cannot_be_read_is_named() -> None:
    def read() -> Any:
        raise CheckpointError("the file ends too early")

    assert opened(LazyTensor("float32", (2,), read, tie=0)) == "a tensor (`float32`, shape (2,)) that cannot be read"
    broken = LazyTensor("qint8", (2,), read, tie=0, fault=CheckpointError("quantised"))
    assert opened(broken) == "a tensor (`qint8`, shape (2,))"


# What is not asked for hinders nothing

ODD: list[Any] = [
    Mode,
    io.BytesIO(b"x"),
    b"\xff",
    1j,
    np.zeros(MAX_NUMBERS + 1),
    {(1, 2): 3},
    {True: 1, None: 2},
    2**200,
    collections.deque([Mode]),
    uuid.UUID(int=1),
    "\ud800",
    [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]],
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_odd_value_beside_what_is_asked_for_hinders_nothing(odd: Any, protocol: int, tmp_path: Path) -> None:
    path = saved(tmp_path, {"dim": 3, "odd": odd, "nested": [odd]}, protocol)
    assert load_config(path, "config", Inner) == Inner(3)


@pytest.mark.parametrize("odd", [one for one in ODD if not isinstance(one, uuid.UUID)], ids=lambda _: "")
def test_a_record_leaves_an_odd_value_out_and_names_it(odd: Any, tmp_path: Path) -> None:
    with open_checkpoint(saved(tmp_path, {"dim": 3, "odd": odd})) as checkpoint:
        found = checkpoint.configuration("config")
        with pytest.raises(CheckpointError):
            checkpoint.config("config")
    assert found.value["dim"] == 3
    assert found.warnings
    assert all(warning.startswith("config.odd") for warning in found.warnings)


leaves: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**63), 2**64 - 1),
    float: st.floats(allow_nan=False),
    str: st.text(st.characters(exclude_categories=["Cs"])),
    bool: st.booleans(),
    bytes: st.binary(),
    complex: st.complex_numbers(allow_nan=False),
    Mode: st.sampled_from(Mode),
    Level: st.sampled_from(Level),
    dt.date: st.dates(),
    dt.datetime: st.datetimes(timezones=st.none() | st.just(dt.UTC)),
    dt.timedelta: st.timedeltas(),
    Decimal: st.decimals(allow_nan=False),
    Fraction: st.fractions(max_denominator=10**9),
    uuid.UUID: st.uuids(),
    list[float]: st.lists(st.floats(allow_nan=False), max_size=4),
    tuple[int, ...]: st.lists(st.integers(0, 9), max_size=4).map(tuple),
    dict[str, Mode]: st.dictionaries(st.text("abc"), st.sampled_from(Mode), max_size=3),
    Inner: st.builds(Inner, st.integers(0, 99), st.text("xyz")),
    int | None: st.none() | st.integers(0, 9),
}


@st.composite
def asked_and_odd(draw: Any) -> tuple[type, dict[str, Any], dict[str, Any]]:
    """Draw a dataclass, values for its fields, and other entries of which some have no plain form."""
    types_of = draw(
        st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.sampled_from(list(leaves)), max_size=6)
    )
    made = dataclasses.make_dataclass("Drawn", [(f"f_{name}", kind) for name, kind in types_of.items()])
    values = {f"f_{name}": draw(leaves[kind]) for name, kind in types_of.items()}
    odd = draw(st.dictionaries(st.text("xyz", min_size=1, max_size=3), st.sampled_from(ODD), max_size=5))
    return made, values, odd


@given(drawn=asked_and_odd(), protocol=st.sampled_from(PROTOCOLS), as_object=st.booleans())
@settings(deadline=None)
def test_what_is_asked_for_comes_out_equal_whatever_is_beside_it(
    drawn: tuple[type, dict[str, Any], dict[str, Any]], protocol: int, as_object: bool, tmp_path_factory: Any
) -> None:
    made, values, odd = drawn
    held = {**odd, **values}
    config = types.SimpleNamespace(**held) if as_object else held
    path = saved(tmp_path_factory.mktemp("drawn"), config, protocol)
    found: Any = load_config(path, "config", made)
    assert found == made(**values)
    assert [type(getattr(found, key)) for key in values] == [type(value) for value in values.values()]


@given(drawn=asked_and_odd())
@settings(deadline=None, max_examples=50)
def test_what_a_record_keeps_is_what_json_has(
    drawn: tuple[type, dict[str, Any], dict[str, Any]], tmp_path_factory: Any
) -> None:
    _, values, odd = drawn
    path = saved(tmp_path_factory.mktemp("drawn"), {**odd, **values})
    with open_checkpoint(path) as checkpoint:
        found = checkpoint.configuration("config")
    assert json.loads(json.dumps(found.value)) == found.value


# Hostile


def test_a_wide_value_that_is_not_asked_for_is_not_looked_at() -> None:
    wide: Any = "x"
    for _ in range(60):
        wide = [wide, wide]
    cyclic: dict[str, Any] = {"dim": 1, "wide": wide}
    cyclic["self"] = cyclic
    assert build(Inner, cyclic, opened=Values(Account(0)).open) == Inner(1)


def test_what_an_object_shares_a_thousandfold_is_charged() -> None:
    big = Opaque("mynet", "Big", items=[(str(i), i) for i in range(10_000)], keyed=True)
    with pytest.raises(CheckpointError, match=r"^asks for more (work|memory) than a file of 1,000 bytes may take"):
        configuration({"config": [big] * 10_000}, "config", Account(1000))


def test_objects_in_objects_end() -> None:
    node: Any = "x"
    for _ in range(1000):
        node = Opaque("mynet", "Wrapped", ((node,),))
    assert isinstance(configuration({"c": {"a": 1, "n": node}}, "c", Account(1 << 20)).value, dict)
    member = Opaque("mynet", "Mode")
    member.args = (member,)
    assert opened(member) == "an object of class `mynet.Mode`"


def test_thousands_of_lacks_make_nine_warnings() -> None:
    found = configuration({"c": {"a": 1, **{f"k{i}": Global("m", "F") for i in range(5000)}}}, "c", Account(1 << 20))
    assert found.value == {"a": 1}
    assert len(found.warnings) == 9
    assert found.warnings[0] == (
        "c.k0: left out of the configuration: expected a value that JSON has, found the class or function `m.F`"
    )
    assert found.warnings[-1] == "c: 4,992 more values left out, without a plain form"


def test_items_of_a_list_keep_their_places() -> None:
    found = configuration({"c": [1, Global("m", "F"), {"x": Global("m", "F"), "y": 2}]}, "c", Account(1 << 20))
    assert found.value == [1, None, {"y": 2}]
    assert found.warnings == (
        "c[1]: None in the configuration: expected a value that JSON has, found the class or function `m.F`",
        "c[2].x: left out of the configuration: expected a value that JSON has, found the class or function `m.F`",
    )


def test_asking_for_everything_names_all_that_has_no_plain_form(tmp_path: Path) -> None:
    path = saved(tmp_path, {"a": Mode, "b": {"c": b"x"}, "d": 1})
    with pytest.raises(CheckpointError) as caught:
        load_config(path, "config")
    assert str(caught.value) == (
        f"{path}: config: 2 values without a plain form\n"
        f"  config.a: expected a value that JSON has, found the class or function `{__name__}.Mode`\n"
        "  config.b.c: expected a value that JSON has, found `bytes`\n"
        "  Set the key to a part without them, or ask for the fields you need with a dataclass."
    )


def test_a_key_of_which_nothing_has_a_plain_form_is_an_error(tmp_path: Path) -> None:
    with open_checkpoint(saved(tmp_path, Mode)) as checkpoint, pytest.raises(CheckpointError) as caught:
        checkpoint.configuration("config")
    assert (
        str(caught.value)
        .splitlines()[0]
        .endswith(f"config: expected a value that JSON has, found the class or function `{__name__}.Mode`")
    )
