"""Options as flags: how they are spelt, offered and read, and that a new one needs nothing here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

import click
import pytest
from click.testing import CliRunner

from hatch_wheelweights.cli.flags import FLAGS, flag_options, given_flags, read_flags, spelling_of
from hatch_wheelweights.errors import (
    KEY_REMAP,
    PRECISION,
    TOP_LEVEL_KEY,
    WHOLE_MODEL,
    ConfigError,
    Do,
    Option,
    Set,
    Setting,
    Words,
    spelt,
)
from hatch_wheelweights.options.model import ConversionOptions, Precision, Spec, TensorOptions, specs
from hatch_wheelweights.options.values import BOOLEAN, PATTERNS, PRECISIONS, RULES, TEXTS, Kind, choice
from looking.commands import python, refusal, stdout
from making.small_files import small_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_faults_of_flags_are_told_together_under_their_flags_before_any_file_is_opened() -> None:
    options = ["--key-remap", "(", "x", "--precision", "hlf", "--include", "["]
    assert (
        refusal("convert", "not there.pt", "model.mpk", *options, status=2)
        == r"""Error: configuration: 3 faults: --key-remap[0].pattern, --precision, --include[0]
  --key-remap[0].pattern: missing ), unterminated subpattern at position 0
      (
      ^
    Close the group, or write \( to match a literal parenthesis.
  --precision: expected `keep`, `full`, `half`, `double` or `bfloat16`, found `hlf`
    Did you mean `half`?
  --include[0]: unterminated character set at position 0
      [
      ^
    Close the class, or write \[ to match a literal bracket.
"""
    )


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        pytest.param(["license"], "--metadata: expected KEY=VALUE, found 'license'", id="no value"),
        pytest.param(["=MIT"], "--metadata: expected KEY=VALUE, found '=MIT'", id="no key"),
        pytest.param(["a=1", "a=2"], "--metadata: expected each key once, found 'a' twice", id="twice"),
    ],
)
def test_wrong_metadata_is_wrong_usage(metadata: list[str], message: str) -> None:
    small_checkpoint()
    flags = [part for pair in metadata for part in ("--metadata", pair)]
    assert refusal("convert", "model.pt", "model.mpk", *flags, status=2).splitlines()[-1] == f"Error: {message}"


def test_precisions_in_the_help_are_those_that_there_are() -> None:
    assert f"--precision {'|'.join(get_args(Precision))}" in stdout("convert", "--help")


def test_remedies_for_a_table_become_flags() -> None:
    add_two = Set({TOP_LEVEL_KEY: ["a b", "c"]})
    assert spelt(add_two, FLAGS) == "Add: --top-level-key 'a b' --top-level-key c"
    assert spelt(Set({TOP_LEVEL_KEY: "m", WHOLE_MODEL: True}), FLAGS) == "Add: --top-level-key m --whole-model"
    assert spelt(Set({TOP_LEVEL_KEY: "\x1b"}), FLAGS) == 'Add: --top-level-key "\\u001b"'
    assert spelt(Do("Set ", TOP_LEVEL_KEY, " to one of `a`."), FLAGS) == "Set --top-level-key to one of `a`."
    # the name of something in a file may look like a setting
    assert spelt("Did you mean `top-level-key = [x]`?", FLAGS) == "Did you mean `top-level-key = [x]`?"


def test_rules_and_tables_are_spelt_as_flags_that_are_repeated() -> None:
    rules = [{"pattern": r"conv\.(.*)", "replacement": "$1"}, ("a", "b c")]
    assert spelt(Setting(KEY_REMAP, rules), FLAGS) == r"--key-remap 'conv\.(.*)' '$1' --key-remap a 'b c'"
    casts = [{"pattern": "^a b$", "dtype": "keep"}, ("", "half")]
    assert spelt(Setting(PRECISION, casts), FLAGS) == "--precision '^a b$=keep' --precision '=half'"
    assert spelt(Setting(PRECISION, "half"), FLAGS) == "--precision half"
    metadata = Setting(Option("metadata"), {"license": "MIT", "by": "me and you"})
    assert spelt(metadata, FLAGS) == "--metadata license=MIT --metadata 'by=me and you'"


def test_an_option_that_is_on_by_default_is_named_by_the_flag_that_turns_it_off() -> None:
    reindex = Option("reindex")
    assert spelt(Words("leave out ", reindex), FLAGS) == "leave out --no-reindex"
    assert spelt(Setting(reindex, False), FLAGS) == "--no-reindex"


# A new option is a field of a model, and nothing else


def described(kind: Kind[Any], text: str) -> dict[str, Spec]:
    return {"spec": Spec(kind, text)}


@dataclass(frozen=True, kw_only=True)
class Dummies(TensorOptions):
    """The options of a conversion, and one of each form that a flag can have."""

    turned_on: bool = field(default=False, metadata=described(BOOLEAN, "Do the new thing."))
    turned_off: bool = field(default=True, metadata=described(BOOLEAN, "Do the old thing."))
    chosen: str = field(default="keep", metadata=described(choice(Precision), "Choose one."))
    several: Sequence[str] = field(default=(), metadata=described(PATTERNS, "Match these."))
    pairs: Sequence[tuple[str, str]] = field(default=(), metadata=described(RULES, "Replace these."))
    texts: dict[str, str] = field(default_factory=dict, metadata=described(TEXTS, "Note these."))
    cast: str | Sequence[tuple[str, str]] = field(default="keep", metadata=described(PRECISIONS, "Cast these."))


@click.command()
@flag_options(Dummies, without=("exclude",))
def dummy_command(**flags: Any) -> None:
    """Show the options."""
    click.echo(repr(read_flags(Dummies, flags)))


def dummy_output(*arguments: str) -> str:
    result = CliRunner().invoke(dummy_command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_form_of_an_option_is_a_flag_with_its_help() -> None:
    shown = re.sub(r"\s+", " ", dummy_output("--help"))
    for flag in (
        "--turned-on Do the new thing.",
        "--no-turned-off Do not do the old thing.",
        "--chosen keep|full|half|double|bfloat16 Choose one.",
        "--several PATTERN Match these. Repeatable.",
        "--pairs PATTERN REPLACEMENT Replace these. Repeatable.",
        "--texts KEY=VALUE Note these. Repeatable.",
        "--cast keep|full|half|double|bfloat16|PATTERN=DTYPE Cast these. Repeatable.",
    ):
        assert f" {flag} " in f" {shown} ", flag
    assert shown.index("--top-level-key") < shown.index("--turned-on") < shown.index("--texts")
    assert "--exclude" not in shown
    assert spelt(Option("turned_off"), spelling_of(Dummies)) == "--no-turned-off"


def test_flags_give_every_form_of_an_option() -> None:
    assert dummy_output() == f"{Dummies()!r}\n"
    arguments = ["--turned-on", "--no-turned-off", "--chosen", "half", "--several", "a", "--several", "b"]
    arguments += ["--pairs", "c", "d", "--pairs", "e", "f", "--texts", "g=h=i", "--texts", "j="]
    expected = Dummies(
        turned_on=True,
        turned_off=False,
        chosen="half",
        several=("a", "b"),
        pairs=(("c", "d"), ("e", "f")),
        texts={"g": "h=i", "j": ""},
    )
    assert dummy_output(*arguments) == f"{expected!r}\n"
    assert dummy_output("--cast", "half") == f"{Dummies(cast='half')!r}\n"
    rules = (("^a", "int8"), ("(?=b)", "half"), ("", "float16"))
    flags = [word for pattern, dtype in rules for word in ("--cast", f"{pattern}={dtype}")]
    assert dummy_output(*flags) == f"{Dummies(cast=rules)!r}\n"


def test_a_precision_is_one_word_or_rules() -> None:
    assert refusal("inspect", "a.pt", "--precision", "half", "--precision", "^a=keep", status=2) == (
        "Error: --precision: expected PATTERN=DTYPE each time, or one word alone, found 'half' among others\n"
        "  For all the other tensors, write it last: =half\n"
    )
    assert refusal("inspect", "a.pt", "--precision", "a=b=hlaf", status=2) == (
        "Error: --precision[0].dtype: expected a precision or a dtype, found `hlaf`\n  Did you mean `half`?\n"
    )


def test_a_new_option_of_the_conversion_is_a_flag_of_the_commands() -> None:
    done = python(
        """
import dataclasses, sys
from hatch_wheelweights.options import model, values
dummy = dataclasses.field(default=False, metadata={"spec": model.Spec(values.BOOLEAN, "Do the new thing.")})
model.ConversionOptions = dataclasses.make_dataclass(
    "ConversionOptions", [("dummy_option", bool, dummy)], bases=(model.ConversionOptions,), frozen=True, kw_only=True
)
from hatch_wheelweights.cli import main
sys.argv[1:] = [sys.argv[-1], "--help"]
for command in ("inspect", "convert"):
    sys.argv[1:] = [command, "--help"]
    try:
        main()
    except SystemExit:
        pass
"""
    )
    assert done.stderr == ""
    assert re.sub(r"\s+", " ", done.stdout).count("--dummy-option Do the new thing.") == 2


def test_the_help_of_an_option_that_a_flag_turns_off_is_a_sentence_that_can_be_turned_round() -> None:
    for option, spec in specs(ConversionOptions).items():
        assert re.fullmatch(r"[A-Z][^.]* .*\.", spec.help), option
    assert "--no-reindex Do not close gaps in layer numbers" in re.sub(r"\s+", " ", stdout("convert", "--help"))


def test_an_empty_value_is_a_value() -> None:
    assert refusal("inspect", "a.pt", "--precision", "", status=2).startswith("Error: --precision: expected `keep`")
    assert refusal("inspect", "a.pt", "--top-level-key", "", status=2).startswith("Error: --top-level-key: expected a ")


def test_faults_in_the_form_of_a_flag_are_told_with_the_others() -> None:
    arguments = ["--precision", "hlf", "--metadata", "license", "--metadata", "a=1", "--metadata", "a=2"]
    assert refusal("convert", "a.pt", "a.mpk", *arguments, status=2).splitlines() == [
        "Error: configuration: 3 faults: --precision, --metadata, --metadata",
        "  --precision: expected `keep`, `full`, `half`, `double` or `bfloat16`, found `hlf`",
        "    Did you mean `half`?",
        "  --metadata: expected KEY=VALUE, found 'license'",
        "  --metadata: expected each key once, found 'a' twice",
    ]


# The same options for one of several files


@click.command()
@flag_options(Dummies, prefix="a-")
def one_of_two(**flags: Any) -> None:
    """Show the options that are given."""
    click.echo(repr(given_flags(Dummies, flags, "a-")))


def test_a_prefix_makes_flags_for_one_of_several_files() -> None:
    arguments = ["--a-turned-on", "--a-no-turned-off", "--a-chosen", "keep", "--a-pairs", "c", "d", "--a-cast", "=half"]
    result = CliRunner().invoke(one_of_two, arguments, catch_exceptions=False)
    expected = {
        "turned_on": True, "turned_off": False, "chosen": "keep", "pairs": (("c", "d"),), "cast": (("", "half"),),
    }  # fmt: skip
    assert result.output == f"{expected!r}\n"
    assert CliRunner().invoke(one_of_two, [], catch_exceptions=False).output == "{}\n"
    assert "--a-" not in CliRunner().invoke(one_of_two, ["--help"]).output


def test_faults_and_remedies_of_such_flags_spell_them_with_the_prefix() -> None:
    with pytest.raises(ConfigError) as caught:
        given_flags(Dummies, {"a_chosen": "hlf", "a_texts": ("x",), "a_cast": ("half", "b=half")}, "a-")
    assert str(caught.value).splitlines() == [
        "configuration: 3 faults: --a-chosen, --a-texts, --a-cast",
        "  --a-chosen: expected `keep`, `full`, `half`, `double` or `bfloat16`, found `hlf`",
        "    Did you mean `half`?",
        "  --a-texts: expected KEY=VALUE, found 'x'",
        "  --a-cast: expected PATTERN=DTYPE each time, or one word alone, found 'half' among others",
        "    For all the other tensors, write it last: =half",
    ]
    spelling = spelling_of(Dummies, "a-")
    assert spelt(Set({TOP_LEVEL_KEY: ["m"], WHOLE_MODEL: True}), spelling) == (
        "Add: --a-top-level-key m --a-whole-model"
    )
    assert spelt(Option("turned_off"), spelling) == "--a-no-turned-off"
