"""`hatch_wheelweights.inspect`: what is in a file, as a value that shows itself in Python and in a notebook."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from hatch_wheelweights.errors import PYTHON
from hatch_wheelweights.looking.inspection.document import json_document
from hatch_wheelweights.looking.inspection.facts import FileFacts
from hatch_wheelweights.looking.inspection.inspect import Wanted, inspect_file
from hatch_wheelweights.looking.inspection.notebook import html_tree
from hatch_wheelweights.looking.inspection.terminal import Screen, text_of
from hatch_wheelweights.options.model import ConversionOptions
from hatch_wheelweights.options.reading import keywords_of, read_keywords

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Inspection", "inspect"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Inspection(FileFacts):
    """What is in a file; `tree` is its module tree. Its text, and what a notebook shows, is that tree."""

    def __repr__(self) -> str:
        return text_of(self, PYTHON, Screen())

    def _repr_html_(self) -> str:
        return html_tree(self)

    def document(self) -> dict[str, Any]:
        """Return what `wheelweights inspect --json` prints, as plain values."""
        return json_document(self, PYTHON)


@dataclass(frozen=True)
class _Keywords(ConversionOptions):
    """What `inspect` takes."""

    path: str | os.PathLike[str]
    find: str | None = None
    statistics: bool = False


@keywords_of(_Keywords)
def inspect(
    path: str | os.PathLike[str], find: str | None = None, statistics: bool = False, **options: Any
) -> Inspection:
    """Return what is in a checkpoint, a record (also one that Burn wrote), or a wheel with records.

    The options are those of the build hook: they show what a conversion would do to a checkpoint. With `find`, a
    regular expression, the tensors are those whose key has a match. With `statistics`, every tensor is read, a block at
    a time, and has `statistics`. Raises WheelweightsError for a file that cannot be opened, ConfigError for options
    that are wrong or do not go with it. A root that is not a state_dict is no error: see `FileFacts`.
    """
    wanted = Wanted(find, statistics=statistics)
    found = inspect_file(os.fspath(path), read_keywords(ConversionOptions, options), wanted)
    return Inspection(**_values(found))


def _values(facts: FileFacts) -> Mapping[str, Any]:
    return {field.name: getattr(facts, field.name) for field in fields(FileFacts)}
