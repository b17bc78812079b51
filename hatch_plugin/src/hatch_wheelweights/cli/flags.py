"""The options as flags: how the command line spells them, offers them and reads them.

Everything is made from the fields of a model in `options.model`, by the form that the kind of each gives to a flag: a
new option is a new flag without a change here.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar, cast

import click

from hatch_wheelweights.errors import ConfigError, Faults, Place, Spelling
from hatch_wheelweights.options.model import ConversionOptions, specs
from hatch_wheelweights.options.reading import read_keywords
from wheelweights.errors import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from hatch_wheelweights.errors import Option
    from hatch_wheelweights.options.model import Spec
    from hatch_wheelweights.options.values import Flag

    Command = TypeVar("Command", bound=Callable[..., object])

__all__ = ["FLAGS", "flag_options", "given_flags", "read_flags", "spelling_of"]

Options = TypeVar("Options")


# How they are spelt


def spelling_of(model: type[Any], prefix: str = "") -> Spelling:
    """Return the spelling of the options of a model as flags, with words quoted as a shell needs it.

    An option that is on by default is named by the flag that turns it off: `--no-reindex`. One that is off by default
    has no such flag: to turn it off is `leaving out --reindex`. With the prefix `a-` the flags are those for one of
    several files: `--a-no-reindex`.
    """
    on, off = _switches(model, default=True), _switches(model, default=False)
    forms: dict[str, Flag] = {option: spec.kind.flag for option, spec in specs(model).items()}

    def setting(name: str, value: object) -> str:
        if value is False and name in off:
            return f"leaving out {_flag(name, prefix)}"
        return _setting(name, value, forms.get(name), prefix)

    return Spelling(
        name=lambda name: _flag(name, prefix, negated=name in on),
        setting=setting,
        setting_it=lambda settings: f"Add: {' '.join(settings)}",
    )


def _flag(name: str, prefix: str = "", *, negated: bool = False) -> str:
    return f"--{prefix}{'no-' if negated else ''}{name.replace('_', '-')}"


def _setting(name: str, value: object, form: Flag | None, prefix: str) -> str:
    """Return a flag with its value: once, or as often as the value has parts."""
    if isinstance(value, bool):
        return _flag(name, prefix, negated=not value)
    given = _words(value)
    if form == "word or rules":
        given = [["=".join(words)] for words in given]
    return " ".join(" ".join([_flag(name, prefix), *map(_in_a_shell, words)]) for words in given)


def _words(value: object) -> list[list[str]]:
    """Return the words of each flag that a value takes: texts, rules as tables or pairs, or a table of texts."""
    if isinstance(value, Mapping):
        return [[f"{key}={text}"] for key, text in cast("Mapping[str, object]", value).items()]
    if not isinstance(value, list | tuple):
        return [[str(value)]]
    return [_parts(one) for one in cast("Sequence[object]", value)]


def _parts(one: object) -> list[str]:
    if isinstance(one, Mapping):
        return [str(part) for part in cast("Mapping[str, object]", one).values()]
    return [str(part) for part in cast("Sequence[object]", one)] if isinstance(one, list | tuple) else [str(one)]


def _in_a_shell(word: str) -> str:
    if word.startswith("="):  # which zsh would look up as a command
        return f"'{word}'" if "'" not in word and word.isprintable() else json.dumps(word)
    return shlex.quote(word) if word.isprintable() else json.dumps(word)


def _switches(model: type[Any], *, default: bool) -> set[str]:
    return {field.name for field in fields(model) if field.default is default}


FLAGS: Final = spelling_of(ConversionOptions)


# How they are offered


def flag_options(model: type[Any], *, without: Collection[str] = (), prefix: str = "") -> Callable[[Command], Command]:
    """Give a command the options of a model as flags; it takes their values as keyword arguments, for `read_flags`.

    Flags with a prefix are not listed in the help, which they would make three times as long.
    """

    def decorate(command: Command) -> Command:
        on = _switches(model, default=True)
        for option, spec in reversed(specs(model).items()):  # click shows the one first that is added last
            if option not in without:
                flag = _flag(option, prefix, negated=option in on)
                form = _form(spec, negated=option in on)
                command = click.option(flag, _parameter(option, prefix), hidden=bool(prefix), **form)(command)
        return command

    return decorate


def _parameter(option: Option, prefix: str) -> str:
    """Return the name of the keyword argument that a command takes the flag of an option as."""
    return prefix.replace("-", "_") + option


def _form(spec: Spec, *, negated: bool) -> dict[str, Any]:
    """Return what click needs to know of a flag. The help of an option is a sentence that begins with a verb."""
    kind = spec.kind
    if kind.flag == "switch":
        return {"is_flag": True, "help": f"Do not {spec.help[0].lower()}{spec.help[1:]}" if negated else spec.help}
    if kind.flag == "word":
        return {"metavar": "|".join(kind.names), "help": spec.help}
    words = len(kind.names) if kind.flag == "pairs" else 1
    between = "|" if kind.flag == "word or rules" else " "
    metavar = between.join(kind.names)
    return {"multiple": True, "nargs": words, "metavar": metavar, "help": f"{spec.help} Repeatable."}


# How they are read

_ABSENT: Final = (None, False, ())  # what click gives for a flag that is not there, by its form


def read_flags(model: type[Options], flags: Mapping[str, Any]) -> Options:
    """Return the options of a model that flags give; a flag that is not there leaves the default.

    Raises one ConfigError with all faults, each at its flag.
    """
    return model(**given_flags(model, flags))


def given_flags(model: type[Any], flags: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return only the options that flags (with this prefix) give, and their values; raise as `read_flags` does."""
    faults = Faults()
    on = _switches(model, default=True)
    given: dict[str, object] = {
        option: _given(option, spec, flags[_parameter(option, prefix)], faults, negated=option in on)
        for option, spec in specs(model).items()
        if flags.get(_parameter(option, prefix)) not in _ABSENT
    }
    try:
        options = read_keywords(model, given)
    except ConfigError as error:
        faults[:0] = error.faults
        _raise(faults, model, prefix, error)
    if faults:
        _raise(faults, model, prefix, None)
    return {option: getattr(options, option) for option in given}


def _raise(faults: Faults, model: type[Any], prefix: str, cause: ConfigError | None) -> NoReturn:
    place = Place((), spelling_of(model, prefix) if prefix else None)
    raise ConfigError(*(fault.below(place) for fault in faults)) from cause


def _given(option: Option, spec: Spec, value: Any, faults: Faults, *, negated: bool) -> object:
    """Return the value that a flag gives to an option."""
    if spec.kind.flag == "switch":
        return not negated
    if spec.kind.flag == "word or rules":
        return _word_or_rules(option, spec, value, faults)
    return _table(option, spec, value, faults) if spec.kind.flag == "assignments" else value


def _word_or_rules(option: Option, spec: Spec, values: Sequence[str], faults: Faults) -> object:
    """Return the only word, or a rule for each value; the word of a rule follows its last equals sign."""
    if len(values) == 1 and "=" not in values[0]:
        return values[0]
    for value in values:
        if "=" not in value:
            fact = f"expected {spec.kind.names[-1]} each time, or one word alone, found {quoted(value)} among others"
            faults.add(Place((option,)), fact, remedy=f"For all the other tensors, write it last: ={value}")
            return None
    rules = (value.rpartition("=") for value in values)
    return tuple((pattern, word) for pattern, _, word in rules)


def _table(option: Option, spec: Spec, assignments: Sequence[str], faults: Faults) -> dict[str, str]:
    table: dict[str, str] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not name or not equals:
            faults.add(Place((option,)), f"expected {spec.kind.names[0]}, found {quoted(assignment)}")
        elif name in table:
            faults.add(Place((option,)), f"expected each key once, found {quoted(name)} twice")
        table[name] = text
    return table
