"""Options from plain values: those of a table or of a Python caller, checked, with all faults together."""

from __future__ import annotations

import inspect
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from hatch_wheelweights.errors import Faults, Option, Place
from hatch_wheelweights.options.model import specs
from hatch_wheelweights.options.values import refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["keywords_of", "method_keywords_of", "read_keywords", "read_values"]

Options = TypeVar("Options")
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")
Owner = TypeVar("Owner")


def read_keywords(model: type[Options], keywords: Mapping[str, object]) -> Options:
    """Return the options that keyword arguments (or flags, by the same names) give; None leaves the default.

    Raises one ConfigError with all faults.
    """
    faults = Faults()
    given = {name: value for name, value in keywords.items() if value is not None}
    refuse_unknown(given, specs(model), Place(()), faults)
    values = read_values(model, given, Place(()), faults)
    faults.raise_any()
    return model(**values)


def read_values(
    model: type[Any],
    given: Mapping[str, object],
    place: Place,
    faults: Faults,
    readers: Mapping[str, Callable[[object, Place, Faults], Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the value of each option of a model that is given, by name; what has another name is left out.

    `readers` take the place of those that the options have.
    """
    known = specs(model)
    options = [Option(name) for name in given if name in known]
    return {
        option: readers.get(option, known[option].kind.read)(given[option], place / option, faults)
        for option in options
    }


# Signatures: the parameters of a function that takes options are those of the model's constructor, which type checkers
# see as well (PEP 612)


def keywords_of(
    model: Callable[Parameters, Any],
) -> Callable[[Callable[..., Returned]], Callable[Parameters, Returned]]:
    """Give a function the parameters of a model: for type checkers, editors and `help`."""

    def decorate(function: Callable[..., Returned]) -> Callable[Parameters, Returned]:
        own = inspect.signature(function)
        _set_signature(function, [*inspect.signature(model).parameters.values()], own)
        return function

    return decorate


def method_keywords_of(
    model: Callable[Parameters, Any],
) -> Callable[[Callable[Concatenate[Owner, ...], Returned]], Callable[Concatenate[Owner, Parameters], Returned]]:
    """Give a method the parameters of a model beside `self`."""

    def decorate(
        function: Callable[Concatenate[Owner, ...], Returned],
    ) -> Callable[Concatenate[Owner, Parameters], Returned]:
        own = inspect.signature(function)
        first = next(iter(own.parameters.values()))
        _set_signature(function, [first, *inspect.signature(model).parameters.values()], own)
        return function

    return decorate


def _set_signature(function: Callable[..., Any], parameters: list[inspect.Parameter], own: inspect.Signature) -> None:
    signature = own.replace(parameters=parameters)
    function.__signature__ = signature  # type: ignore[attr-defined]  # what `inspect.signature` looks for first
