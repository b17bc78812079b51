"""Errors as values: one error, spelt for a table, for a command line and for Python."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from hatch_wheelweights import errors, open_checkpoint
from hatch_wheelweights.cli.flags import FLAGS
from hatch_wheelweights.errors import (
    PYTHON,
    TOP_LEVEL_KEY,
    ConfigError,
    Do,
    Fault,
    Faults,
    Option,
    Place,
    Run,
    Set,
    Setting,
    Words,
    message,
    spelt,
)
from hatch_wheelweights.options.model import HookOptions, RecordOptions, specs
from hatch_wheelweights.options.toml import TOML
from making.checkpoints import zip_checkpoint
from making.pickles import build, call, name, ordered_dict, pickled, tensor
from wheelweights import WheelweightsError

if TYPE_CHECKING:
    from pathlib import Path


SPELLINGS = {"table": TOML, "flags": FLAGS, "python": PYTHON}
KEY = Option("top_level_key")


@pytest.mark.parametrize(
    ("text", "table", "flags", "python"),
    [
        pytest.param(KEY, "top-level-key", "--top-level-key", "top_level_key", id="name"),
        pytest.param(
            Setting(KEY, "model"),
            'top-level-key = "model"',
            "--top-level-key model",
            'top_level_key="model"',
            id="text",
        ),
        pytest.param(
            Setting(KEY, ["a b", 'c"']),
            'top-level-key = ["a b", "c\\""]',
            "--top-level-key 'a b' --top-level-key 'c\"'",
            'top_level_key=["a b", "c\\""]',
            id="list",
        ),
        pytest.param(
            Setting(Option("whole_model"), True), "whole-model = true", "--whole-model", "whole_model=True", id="switch"
        ),
        pytest.param(
            Setting(Option("reindex"), False), "reindex = false", "--no-reindex", "reindex=False", id="switch off"
        ),
        pytest.param(
            Setting(Option("key_remap"), [{"pattern": r"a\.(.*)", "replacement": "$1"}]),
            r"key-remap = [{ pattern = 'a\.(.*)', replacement = '$1' }]".replace("'$1'", '"$1"'),
            r"--key-remap 'a\.(.*)' '$1'",
            r'key_remap=[{"pattern": "a\\.(.*)", "replacement": "$1"}]',
            id="rules",
        ),
        pytest.param(
            Setting(KEY, "\x1b[31m"),
            'top-level-key = "\\u001b[31m"',
            '--top-level-key "\\u001b[31m"',
            'top_level_key="\\u001b[31m"',
            id="controls",
        ),
        pytest.param(
            Set({KEY: "m", Option("whole_model"): True}),
            'Add the lines: top-level-key = "m" and whole-model = true',
            "Add: --top-level-key m --whole-model",
            'Pass top_level_key="m" and whole_model=True.',
            id="remedy of two settings",
        ),
        pytest.param(
            Do("Leave it out with ", Option("exclude"), "."),
            "Leave it out with exclude.",
            "Leave it out with --exclude.",
            "Leave it out with exclude.",
            id="sentence",
        ),
        pytest.param(Run("git lfs pull"), "Run: git lfs pull", "Run: git lfs pull", "Run: git lfs pull", id="command"),
        pytest.param(
            Place((Option("key_remap"), 1, "pattern")),
            "key-remap[1].pattern",
            "--key-remap[1].pattern",
            "key_remap[1].pattern",
            id="place",
        ),
        pytest.param("plain {text}", "plain {text}", "plain {text}", "plain {text}", id="plain text"),
    ],
)
def test_a_text_is_spelt_for_who_reads_it(text: object, table: str, flags: str, python: str) -> None:
    assert [spelt(text, spelling) for spelling in SPELLINGS.values()] == [table, flags, python]


def test_a_place_in_a_table_is_spelt_as_in_the_table_for_everybody() -> None:
    place = Place(("hooks.wheelweights", "records", 0), TOML) / KEY
    assert {spelt(place, spelling) for spelling in SPELLINGS.values()} == {
        "hooks.wheelweights.records[0].top-level-key"
    }
    fault = Fault(place, "is wrong", remedy=Set({KEY: "a"}))
    assert fault.message() == (
        'hooks.wheelweights.records[0].top-level-key: is wrong\n  Add the line: top-level-key = "a"'
    )


def test_the_names_of_options_in_errors_are_those_of_the_model() -> None:
    named = {value for value in vars(errors).values() if type(value) is Option}
    assert TOP_LEVEL_KEY in named
    assert named <= specs(HookOptions).keys() | specs(RecordOptions).keys()


def test_faults_are_told_together_or_alone() -> None:
    faults = Faults()
    faults.raise_any()
    faults.add(Place((KEY,)), "is wrong", "a detail", remedy="Mend it.")
    with pytest.raises(ConfigError) as alone:
        faults.raise_any()
    assert message(alone.value, FLAGS) == "--top-level-key: is wrong\n  a detail\n  Mend it."
    faults.add(Place((KEY, 0)), "is odd")
    with pytest.raises(ConfigError) as together:
        faults.raise_any()
    assert message(together.value, FLAGS) == (
        "configuration: 2 faults: --top-level-key, --top-level-key[0]\n"
        "  --top-level-key: is wrong\n    a detail\n    Mend it.\n"
        "  --top-level-key[0]: is odd"
    )


@pytest.mark.parametrize(
    "error",
    [
        WheelweightsError("fact", path="a", key="k", position="byte 3", details=["d"], remedy=Set({KEY: "m"})),
        ConfigError(Fault(Place((KEY,), TOML), Words("a ", KEY), ("d",), Run("x"))),
    ],
)
def test_an_error_survives_pickling(error: WheelweightsError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert message(again, FLAGS) == message(error, FLAGS)


# Golden messages


def module() -> bytes:
    """A pickled module with one parameter."""
    state = {"_parameters": {"w": tensor()}, "_buffers": {}, "_modules": {}}
    return build(call(name("mine", "Net")), state)


def refusal(path: Path, **options: Any) -> WheelweightsError:
    def read_all() -> None:
        with open_checkpoint(path) as checkpoint:
            for each in checkpoint.state_dict(**options).values():
                each.numpy()

    with pytest.raises(WheelweightsError) as caught:
        read_all()
    caught.value.path = "m.pt"
    return caught.value


@pytest.mark.parametrize(
    ("tree", "options", "fact", "table", "flags", "python"),
    [
        pytest.param(
            {"model": ordered_dict({"w": tensor()}), "epoch": 3},
            {},
            "m.pt: expected a state_dict, found `epoch` (int), `model` (1 tensor)",
            'Add the line: top-level-key = "model"',
            "Add: --top-level-key model",
            'Pass top_level_key="model".',
            id="wrapped",
        ),
        pytest.param(
            {"a": {"model": ordered_dict({"w": tensor()})}, "epoch": 3},
            {"top_level_key": "a.model"},
            "m.pt: expected top-level key `a.model`, found `a` (1 tensor), `epoch` (int)",
            'Did you mean top-level-key = ["a", "model"]?',
            "Did you mean --top-level-key a --top-level-key model?",
            'Did you mean top_level_key=["a", "model"]?',
            id="nested",
        ),
        pytest.param(
            {"net": module(), "epoch": 3},
            {},
            "m.pt: expected a state_dict, found `epoch` (int), `net` (whole model `mine.Net`)",
            'Add the lines: top-level-key = "net" and whole-model = true',
            "Add: --top-level-key net --whole-model",
            'Pass top_level_key="net" and whole_model=True.',
            id="whole model",
        ),
        pytest.param(
            {"w": tensor()},
            {"include": ["x"]},
            "m.pt: expected keys that match `x`, found none among 1",
            "Correct the pattern in include or exclude, or remove it.",
            "Correct the pattern in --include or --exclude, or remove it.",
            "Correct the pattern in include or exclude, or remove it.",
            id="filter",
        ),
    ],
)
def test_an_error_is_spelt_for_a_build_a_command_line_and_python(
    tmp_path: Path, tree: object, options: dict[str, Any], fact: str, table: str, flags: str, python: str
) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(zip_checkpoint(pickled(tree)))
    error = refusal(path, **options)
    for spelling, remedy in zip(SPELLINGS.values(), (table, flags, python), strict=True):
        first, *_, last = message(error, spelling).splitlines()
        assert (first, last) == (fact, f"  {remedy}")
    assert str(error) == message(error, PYTHON)


def test_a_cast_that_overflows_is_spelt_three_ways(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(zip_checkpoint(storages={"0": b"\xff\xff\x7f\x7f" * 4}))
    error = refusal(path, precision="half")
    assert [message(error, spelling).splitlines() for spelling in SPELLINGS.values()] == [
        [
            "m.pt: tensor `w`: expected finite values that `float16` can hold, found the magnitude 3.40282e+38",
            f"  By {asked}",
            f"  Keep it: {rules}, or use `bfloat16`, which has the range of float32.",
        ]
        for asked, rules in (
            (
                'precision = "half"',
                'precision = [{ pattern = "^w$", dtype = "keep" }, { pattern = "", dtype = "half" }]',
            ),
            ("--precision half", "--precision '^w$=keep' --precision '=half'"),
            ('precision="half"', 'precision=[{"pattern": "^w$", "dtype": "keep"}, {"pattern": "", "dtype": "half"}]'),
        )
    ]


def test_warnings_and_culprits_name_rules_as_their_reader_does(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(zip_checkpoint(pickled({"a": tensor(), "b": tensor()})))
    with open_checkpoint(path) as checkpoint:
        (warning,) = checkpoint.state_dict(key_remap=[("x", "y")]).report.warnings
    assert [spelt(warning, spelling).split(" ")[0] for spelling in SPELLINGS.values()] == [
        "key-remap[0]", "--key-remap[0]", "key_remap[0]",
    ]  # fmt: skip
    error = refusal(path, key_remap=[("[ab]", "c")])
    assert [message(error, spelling).splitlines()[1] for spelling in SPELLINGS.values()] == [
        "  By key-remap[0]: `[ab]` -> `c`", "  By --key-remap[0]: `[ab]` -> `c`", "  By key_remap[0]: `[ab]` -> `c`",
    ]  # fmt: skip
