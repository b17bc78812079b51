"""Building dataclasses from the plain values of a configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import pickle
import subprocess
import sys
import typing
from collections.abc import Mapping, Sequence  # noqa: TC003 (annotations are read at run time)
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple, NewType, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wheelweights.config import MAX_DEPTH, Formless, Unnamed, build, field_path
from wheelweights.errors import RecordError, WheelweightsError

if typing.TYPE_CHECKING:
    from decimal import Decimal

Width = NewType("Width", int)


class Act(enum.Enum):
    RELU = "relu"
    GELU = "gelu"


class Window(enum.Enum):
    SMALL = (3, 3)
    LARGE = (7, 7)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Perm(enum.Flag):
    READ = 1
    WRITE = 2


class Size(NamedTuple):
    width: int
    height: int


@dataclass(frozen=True)
class Layer:
    dim: int
    act: Act = Act.RELU


@dataclass
class Adam:
    lr: float
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass
class Sgd:
    lr: float
    momentum: float


@dataclass
class Everything:
    n: int
    rate: float
    flag: bool
    name: str
    nothing: None
    layers: list[Layer]
    shape: tuple[int, ...]
    pair: tuple[int, str]
    tags: set[str]
    fixed: frozenset[int]
    table: dict[str, int]
    by_number: dict[int, str]
    maybe: Optional[int]  # noqa: UP045 (both spellings)
    either: int | str
    optimizer: Adam | Sgd
    mode: Literal["train", "eval", 3]
    anything: Any
    where: Path
    pure: PurePosixPath
    level: Level
    window: Window
    width: Width
    steps: Sequence[float]
    extra: Mapping[str, list[int]]
    noted: typing.Annotated[int, "units"]
    bare: list
    bare_tuple: tuple


EVERYTHING: dict[str, Any] = {
    "n": 3,
    "rate": 1,
    "flag": True,
    "name": "net",
    "nothing": None,
    "layers": [{"dim": 4}, {"dim": 5, "act": "gelu"}],
    "shape": [1, 2, 3],
    "pair": [1, "a"],
    "tags": ["a", "b"],
    "fixed": [1, 2],
    "table": {"a b": 1},
    "by_number": {"0": "cat", "-1": "dog"},
    "maybe": None,
    "either": "x",
    "optimizer": {"lr": 1, "momentum": 0.9},
    "mode": "eval",
    "anything": {"k": [1, None]},
    "where": "data/x",
    "pure": "/data/x",
    "level": 2,
    "window": [7, 7],
    "width": 8,
    "steps": [1, 2.5],
    "extra": {"a": [1]},
    "noted": 1,
    "bare": [1, "a"],
    "bare_tuple": [1, "a"],
}


def test_builds_every_kind_of_field():
    assert build(Everything, EVERYTHING) == Everything(
        n=3,
        rate=1.0,
        flag=True,
        name="net",
        nothing=None,
        layers=[Layer(4), Layer(5, Act.GELU)],
        shape=(1, 2, 3),
        pair=(1, "a"),
        tags={"a", "b"},
        fixed=frozenset({1, 2}),
        table={"a b": 1},
        by_number={0: "cat", -1: "dog"},
        maybe=None,
        either="x",
        optimizer=Sgd(1.0, 0.9),
        mode="eval",
        anything={"k": [1, None]},
        where=Path("data/x"),
        pure=PurePosixPath("/data/x"),
        level=Level.HIGH,
        window=Window.LARGE,
        width=Width(8),
        steps=[1.0, 2.5],
        extra={"a": [1]},
        noted=1,
        bare=[1, "a"],
        bare_tuple=(1, "a"),
    )


def test_makes_an_int_a_float_where_a_float_is_asked_for():
    assert type(build(Everything, EVERYTHING).rate) is float


def test_leaves_the_values_it_was_given_alone():
    given_values = pickle.loads(pickle.dumps(EVERYTHING))
    build(Everything, given_values)
    assert given_values == EVERYTHING


@dataclass
class One:
    x: Any


def _one(annotation: Any) -> type[One]:
    """Return a dataclass `One` with one field `x` of that type."""
    return dataclasses.make_dataclass("One", [("x", annotation)])


def _message(config: Any, value: object, **kwargs: Any) -> str:
    with pytest.raises(WheelweightsError) as caught:
        build(config, value, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        pytest.param(int, True, "config.x: expected `int`, found `bool` (True)", id="bool is no int"),
        pytest.param(int, 2.0, "config.x: expected `int`, found `float` (2.0)", id="float is no int"),
        pytest.param(int, "2", "config.x: expected `int`, found `str` ('2')", id="digits are no int"),
        pytest.param(int, None, "config.x: expected `int`, found `None`", id="None"),
        pytest.param(float, False, "config.x: expected `float`, found `bool` (False)", id="bool is no float"),
        pytest.param(
            float, 2**53 + 1, "config.x: expected `float`, found `int` (9007199254740993)", id="int that loses a digit"
        ),
        pytest.param(float, 10**400, "config.x: expected `float`, found `int`", id="int over all floats"),
        pytest.param(bool, 1, "config.x: expected `bool`, found `int` (1)", id="int is no bool"),
        pytest.param(None, 0, "config.x: expected `None`, found `int` (0)", id="zero is not None"),
        pytest.param(Path, 3, "config.x: expected `Path`, found `int` (3)", id="path from a number"),
        pytest.param(list[int], {"a": 1}, "config.x: expected `list[int]`, found `dict`", id="dict for a list"),
        pytest.param(list[int], "abc", "config.x: expected `list[int]`, found `str` ('abc')", id="str for a list"),
        pytest.param(list[int], [1, "a"], "config.x[1]: expected `int`, found `str` ('a')", id="item of a list"),
        pytest.param(dict[str, int], [1], "config.x: expected `dict[str, int]`, found `list`", id="list for a dict"),
        pytest.param(
            dict[str, int], {"a b": "c"}, "config.x['a b']: expected `int`, found `str` ('c')", id="value in a dict"
        ),
        pytest.param(dict[int, int], {"01": 1}, "config.x['01']: expected `int`, found `str` ('01')", id="int key"),
        pytest.param(tuple[int, ...], 1, "config.x: expected `tuple[int, ...]`, found `int` (1)", id="int for a tuple"),
        pytest.param(tuple[int, int], [1], "config.x: expected `tuple[int, int]`, found 1 item", id="short tuple"),
        pytest.param(tuple[()], [1, 2], "config.x: expected `tuple[()]`, found 2 items", id="empty tuple"),
        pytest.param(set[Any], [[1]], "config.x: unhashable type: 'list'", id="set of lists"),
        pytest.param(
            int | None, "a", "config.x: expected `int | None`, found `str` ('a')", id="neither member of a union"
        ),
        pytest.param(list[int] | None, ["a"], "config.x[0]: expected `int`, found `str` ('a')", id="inside a member"),
        pytest.param(
            Act,
            "rel",
            "config.x: expected one of 'relu', 'gelu', found `str` ('rel')\n  Did you mean `relu`?",
            id="no member of an enum",
        ),
        pytest.param(Act, 3, "config.x: expected `Act`, found `int` (3)", id="int for an enum of strings"),
        pytest.param(Level, True, "config.x: expected `Level`, found `bool` (True)", id="bool for an enum of ints"),
        pytest.param(Act, "RELUX", "config.x: expected one of 'relu', 'gelu', found `str` ('RELUX')", id="enum's name"),
        pytest.param(
            Literal[1, 2], True, "config.x: expected `Literal[1, 2]`, found `bool` (True)", id="bool for a Literal"
        ),
        pytest.param(
            Literal["train", "eval"],
            "evil",
            "config.x: expected one of 'train', 'eval', found `str` ('evil')\n  Did you mean `eval`?",
            id="no choice of a Literal",
        ),
        pytest.param(
            Literal[tuple(range(10))],
            77,
            "config.x: expected one of 0, 1, 2, 3, 4, 5, 6, 7 and 2 more, found `int` (77)",
            id="long Literal",
        ),
        pytest.param(memoryview, 1, "config.x: `memoryview` cannot be built from plain values", id="unsupported class"),
        pytest.param(complex, 1, "config.x: expected `complex`, found `int` (1)", id="int for a complex"),
        pytest.param(date, "2024-13-01", "config.x: expected `date`, found `str` ('2024-13-01')", id="no date"),
        pytest.param(date, 20240101, "config.x: expected `date`, found `int` (20240101)", id="int for a date"),
        pytest.param(timedelta, "P", "config.x: expected `timedelta`, found `str` ('P')", id="no duration"),
        pytest.param(Perm, 8, "config.x: expected one of 1, 2, found `int` (8)", id="no combination of flags"),
        pytest.param(Size, [1, 2, 3], "config.x: expected `Size`, found 3 items", id="long named tuple"),
        pytest.param(Size, {"width": 1}, "config.x.height: missing (`int`, no default)", id="short named tuple"),
        pytest.param(
            type[int], "int", "config.x: `type[int]` cannot be built from plain values", id="unsupported form"
        ),
        pytest.param(str, "a" * 100, None, id="fits"),
    ],
)
def test_names_what_was_expected_and_what_was_found(annotation, value, message):
    if message is None:
        assert build(_one(annotation), {"x": value}).x == value
    else:
        assert _message(_one(annotation), {"x": value}) == message


def test_escapes_and_cuts_what_a_file_wrote():
    found = _message(_one(int), {"x": "\x1b[31m" + "a" * 200})
    assert found == "config.x: expected `int`, found `str` ('\\x1b[31m" + "a" * 68 + "...)"


def test_looks_at_nothing_but_the_fields_that_are_declared():
    looked_at: list[object] = []

    def opened(value: object) -> object:
        looked_at.append(value)
        return value

    odd = object()
    value = {"dim": 4, "other": odd, "more": {"dim": odd}}
    assert build(Layer, value, opened=opened) == Layer(4)
    assert looked_at == [value, 4]


def test_a_value_without_a_plain_form_is_a_fault_where_it_is_asked_for():
    value = {"n": Formless("a tensor", "Set another key."), "x": {"deep": [Formless("a class")]}}

    @dataclass
    class Net:
        n: int
        x: Any

    Net.__annotations__ = {"n": int | None, "x": Any}
    assert _message(Net, value) == (
        "configuration does not fit `Net`: 2 unreadable values\n"
        "  config.n: expected `int | None`, found a tensor. Set another key.\n"
        "  config.x.deep[0]: expected a plain value, found a class"
    )
    assert _message(_one(int), {"x": value["n"]}) == "config.x: expected `int`, found a tensor\n  Set another key."


def test_takes_a_member_by_its_value_before_its_name():
    class Swapped(enum.Enum):
        a = "b"
        b = "a"
        c = "d"

    assert build(_one(Swapped), {"x": "a"}).x is Swapped.b
    assert build(_one(Swapped), {"x": "c"}).x is Swapped.c
    assert build(_one(Act), {"x": "RELU"}).x is Act.RELU
    assert build(_one(Level), {"x": "HIGH"}).x is Level.HIGH
    assert build(_one(Act), {"x": Formless("the class or function `m.Act.GELU`", name="GELU")}).x is Act.GELU


def test_takes_combinations_of_flags():
    assert build(_one(Perm), {"x": 3}).x == Perm.READ | Perm.WRITE
    assert build(_one(Perm), {"x": 0}).x == Perm(0)


def test_builds_named_tuples_by_order_and_by_name():
    assert build(_one(Size), {"x": [1, 2]}).x == Size(1, 2)
    assert build(_one(Size), {"x": {"height": 2, "width": 1, "depth": 3}}).x == Size(1, 2)


def test_fills_a_dataclass_from_values_whose_names_a_file_does_not_tell():
    assert build(_one(Layer), {"x": Unnamed([4, "gelu"])}).x == Layer(4, Act.GELU)
    assert _message(_one(Layer), {"x": [4, "gelu"]}) == "config.x: expected `Layer`, found `list`"


def test_union_takes_the_member_that_leaves_the_fewest_keys_aside():
    config = _one(Adam | Sgd)
    assert build(config, {"x": {"lr": 1.0, "momentum": 0.5, "other": 1}}).x == Sgd(1.0, 0.5)
    assert build(config, {"x": {"lr": 1.0, "betas": [0.1, 0.2], "other": 1}}).x == Adam(1.0, (0.1, 0.2))
    assert build(_one(list[Adam | Sgd]), {"x": [{"lr": 1, "momentum": 1}]}).x == [Sgd(1.0, 1.0)]


def test_shows_a_hundred_faults_and_counts_the_others():
    lines = _message(_one(list[int]), {"x": ["a"] * 103}).splitlines()
    assert lines[0] == "configuration does not fit `One`: 103 wrong types"
    assert lines[100:] == ["  config.x[99]: expected `int`, found `str` ('a')", "  and 3 more"]


def test_gathers_every_fault_with_its_path():
    value = {"layers": [{"dim": "4"}, {"dmi": 5, "act": "relu"}], "name": 1, "momentum": 0.9}

    @dataclass
    class Net:
        layers: list[Layer]
        name: str
        depth: int
        size: int = 3

    Net.__annotations__ = {"layers": list[Layer], "name": str, "depth": int, "size": int}
    assert _message(Net, value, path="model.mpk") == (
        "model.mpk: configuration does not fit `Net`: 2 wrong types, 2 missing fields\n"
        "  config.layers[0].dim: expected `int`, found `str` ('4')\n"
        "  config.layers[1].dim: missing (`int`, no default). Did you mean `dmi`?\n"
        "  config.name: expected `str`, found `int` (1)\n"
        "  config.depth: missing (`int`, no default)"
    )


def test_raises_the_error_class_it_was_given():
    class OtherError(WheelweightsError):
        pass

    with pytest.raises(OtherError) as caught:
        build(Layer, {"dim": None}, "my_config", error=OtherError, path="a.pt")
    assert str(caught.value) == "a.pt: my_config.dim: expected `int`, found `None`"
    with pytest.raises(RecordError):
        build(Layer, {})


def test_error_survives_pickling():
    with pytest.raises(RecordError) as caught:
        build(Layer, {"d": 1})
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_rejects_a_value_that_is_no_dict():
    assert _message(Layer, [1]) == "config: expected `Layer`, found `list`"


@pytest.mark.parametrize("config", [dict, int, Layer(1), None], ids=str)
def test_rejects_a_class_that_is_no_dataclass(config):
    message = _message(config, {})
    assert message.startswith("expected a dataclass to build, found `")
    assert message.endswith("`\n  Decorate the class with @dataclass.")


def test_union_takes_the_exact_member_before_one_that_needs_a_float():
    config = _one(float | int)
    assert type(build(config, {"x": 1}).x) is int
    assert type(build(config, {"x": 1.0}).x) is float
    assert type(build(_one(str | float), {"x": 1}).x) is float


def test_union_order_decides_between_members_that_fit():
    assert build(_one(Path | str), {"x": "a"}).x == Path("a")
    assert build(_one(str | Path), {"x": "a"}).x == "a"
    assert build(_one(Act | str), {"x": "relu"}).x is Act.RELU
    assert build(_one(Act | str), {"x": "tanh"}).x == "tanh"


def test_union_prefers_the_exact_member_also_by_what_is_inside():
    assert [type(x) for x in build(_one(list[float] | list[int]), {"x": [1, 2]}).x] == [int, int]


def test_reports_the_inside_of_the_only_member_that_takes_a_dict():
    assert _message(_one(Adam | None), {"x": {"lr": "fast"}}) == "config.x.lr: expected `float`, found `str` ('fast')"


def test_reports_the_members_when_several_take_a_dict():
    assert _message(_one(Adam | Sgd), {"x": {"lr": "fast"}}) == "config.x: expected `Adam | Sgd`, found `dict`"


@dataclass
class Tree:
    left: Tree | Leaf | None = None
    right: Leaf | Tree | None = None


@dataclass
class Leaf:
    left: Leaf | Tree | None = None
    right: Tree | Leaf | None = None
    size: int = 0


def _nested(levels: int, last: object) -> dict[str, Any]:
    value: Any = last
    for _ in range(levels):
        value = {"left": value}
    return typing.cast("dict[str, Any]", value)


def test_nested_unions_do_not_multiply():  # 2 ** 30 tries otherwise
    message = _message(Tree, _nested(30, {"left": "x"}))
    assert message == "config.left: expected `Tree | Leaf | None`, found `dict`"


def test_depth_is_limited_at_its_limit_and_not_before():
    build(Tree, _nested(MAX_DEPTH, None))
    with pytest.raises(RecordError):
        build(Tree, _nested(MAX_DEPTH + 1, None))


@dataclass
class Chain:
    next: Chain | None = None


def test_names_the_place_that_is_too_deep():
    value: Any = None
    for _ in range(MAX_DEPTH + 1):
        value = {"next": value}
    where = "config" + ".next" * (MAX_DEPTH + 1)
    assert _message(Chain, value) == f"{where}: expected at most {MAX_DEPTH} levels, found more"


def test_a_dict_that_contains_itself_is_an_error_and_no_loop():
    value: dict[str, Any] = {}
    value["next"] = value
    assert _message(Chain, value).endswith(f"expected at most {MAX_DEPTH} levels, found more")


@dataclass
class Derived:
    dim: int
    heads: int = 2
    head_dim: int = field(init=False)
    sizes: list[int] = field(default_factory=lambda: [1])

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of heads {self.heads}")
        self.head_dim = self.dim // self.heads


def test_a_dataclass_comes_back_from_asdict_with_its_computed_fields():
    assert build(Derived, dataclasses.asdict(Derived(8))) == Derived(8)


def test_what_the_class_itself_rejects_is_a_fault_with_its_cause():
    with pytest.raises(RecordError) as caught:
        build(_one(Derived), {"x": {"dim": 3}})
    assert str(caught.value) == "config.x: rejected by `Derived`: dim 3 is not a multiple of heads 2"
    assert isinstance(caught.value.__cause__, ValueError)


@dataclass
class Sloppy:
    dim: int = None  # type: ignore[assignment]
    name: str = "a"


def test_none_is_taken_where_the_class_has_it_as_the_default():
    assert build(Sloppy, {"dim": None}) == Sloppy()
    assert _message(Sloppy, {"name": None}) == "config.name: expected `str`, found `None`"


@dataclass(kw_only=True, slots=True)
class Keywords:
    a: int = 1
    b: int


def test_builds_keyword_only_and_slotted_classes():
    assert build(Keywords, {"b": 2}) == Keywords(a=1, b=2)


@dataclass
class Unresolved:
    price: Decimal


def test_an_annotation_that_cannot_be_resolved_is_an_error_that_says_so():
    assert _message(Unresolved, {"price": 1}) == (
        "config: annotations of `Unresolved` cannot be resolved: name 'Decimal' is not defined\n"
        "  Import the names they use at the top of the class's module, not under TYPE_CHECKING."
    )


@pytest.mark.parametrize(
    ("key", "path"),
    [("a", "c.a"), (0, "c[0]"), ("a b", "c['a b']"), ("\x1b", "c['\\x1b']"), ("", "c['']"), (b"a", "c[b'a']")],
)
def test_field_path_reads_like_code(key, path):
    assert field_path("c", key) == path


def test_field_path_begins_with_a_name():
    assert field_path("", "precision") == "precision"


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(value=st.dictionaries(st.sampled_from([*EVERYTHING, "other"]), plain) | plain)
def test_nothing_but_our_error_comes_out(value):
    with contextlib.suppress(RecordError):
        build(Everything, value)


@dataclass
class Roundabout:
    a: int
    b: float
    c: list[tuple[str, bool]]
    d: dict[str, float | None]
    e: Roundabout | None = None


def nested(levels: list[tuple[Any, ...]]) -> Any:
    """Return dataclasses in each other, from the fields of each level but the last."""
    config: Any = None
    for a, b, c, d in levels:
        config = Roundabout(a, b, c, d, config)
    return config


floats = st.floats(allow_nan=False)
levels = st.tuples(
    st.integers(),
    floats,
    st.lists(st.tuples(st.text(), st.booleans()), max_size=3),
    st.dictionaries(st.text(), st.none() | floats, max_size=3),
)
roundabouts = st.lists(levels, min_size=1, max_size=6).map(nested)


@given(config=roundabouts)
def test_asdict_and_build_are_inverse(config):
    assert build(Roundabout, dataclasses.asdict(config)) == config


def test_imports_the_standard_library_only():
    code = (
        "import sys, importlib.util as u, types;"
        "sys.modules['wheelweights'] = p = types.ModuleType('wheelweights');"
        f"p.__path__ = [{str(Path(sys.modules['wheelweights'].__file__ or '').parent)!r}];"
        "import wheelweights.config; assert not {'numpy', 'msgpack'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("key", ["drop_out", "dropOut", "Dropout", "drop-out"])
def test_a_default_is_not_taken_where_the_name_is_only_spelt_otherwise(key: str) -> None:
    @dataclass
    class Config:
        dropout: float = 0.1

    with pytest.raises(RecordError) as caught:
        build(Config, {key: 0.5, "other": 1}, "config")
    assert str(caught.value).splitlines()[-2:] == [
        f"config.dropout: its default would be taken, but there is `{key}`",
        "  Give the field that name, or the configuration this one.",
    ]
    assert build(Config, {"other": 1}, "config") == Config()
