"""Which options take the state_dict out of a checkpoint: those that somebody gave, and what the errors themselves say.

An error whose remedy is to set options is a value; here it is obeyed instead of shown, as long as only one part of the
file could be meant. Whoever does so says which part was taken.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from hatch_wheelweights.errors import TOP_LEVEL_KEY, WHOLE_MODEL, CheckpointError, Set, Setting, Words
from hatch_wheelweights.options.model import TensorOptions
from wheelweights.errors import backticked
from wheelweights.plain import is_sequence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hatch_wheelweights.errors import Option
    from hatch_wheelweights.opening import Checkpoint
    from hatch_wheelweights.steps.pipeline import StateDict


__all__ = ["Ready", "part_note", "ready"]

Options = TypeVar("Options", bound=TensorOptions)


class Ready(NamedTuple, Generic[Options]):
    """The tensors that options select, and those options: `added` are the ones that nobody gave.

    `problem` is what was wrong without them.
    """

    tensors: StateDict
    options: Options
    added: Mapping[Option, object]
    problem: CheckpointError | None


def ready(checkpoint: Checkpoint, options: Options) -> Ready[Options]:
    """Return the tensors of a checkpoint, under options that are completed where only one part could be meant.

    Only the top-level key is added, where none is given, and that a whole model is taken. Tensors that no key leads to
    are no error, as in `Checkpoint.tensors`. Raises CheckpointError or RemapError where no such option helps.
    """
    added: dict[Option, object] = {}
    problem: CheckpointError | None = None
    while True:
        try:
            return Ready(checkpoint.tensors(options, incomplete=True), options, added, problem)
        except CheckpointError as error:
            new = {name: value for name, value in _settings(error) if _may_add(name, options)}
            if not new:
                raise
            problem = problem or error
            added |= new
            settings: dict[str, Any] = {str(name): value for name, value in new.items()}
            options = replace(options, **settings)


def part_note(added: Mapping[Option, object]) -> Words | None:
    """Return the sentence that says which part of a file was taken without anybody's asking; None if it is the root."""
    if not added:
        return None
    settings: list[Any] = [Setting(name, value) for name, value in added.items()]
    between = [part for setting in settings for part in (" ", setting)]
    key = added.get(TOP_LEVEL_KEY)
    shown = "the model itself" if key is None else backticked(".".join(map(str, _listed(key))))
    return Words(f"taken as the state_dict: {shown}; a conversion needs", *between)


def _listed(key: object) -> list[object]:
    return [*key] if is_sequence(key) else [key]


def _may_add(name: Option, options: TensorOptions) -> bool:
    return (name == TOP_LEVEL_KEY and not options.top_level_key) or (name == WHOLE_MODEL and not options.whole_model)


def _settings(error: CheckpointError) -> Iterator[tuple[Option, object]]:
    """Yield the options that an error says to set, in its remedy or in a detail."""
    if isinstance(error.remedy, Set):
        yield from error.remedy.settings.items()
        return
    for detail in error.details:
        for part in detail.parts if isinstance(detail, Words) else ():
            if isinstance(part, Setting):
                yield part.name, part.value
