"""Comparing two files: tensors of the same key, then those that are the same under another key.

Tensors are equal if they have the same shape, dtype and values, where NaN equals NaN. Both files are read a block at a
time: a tensor under the same key in both, once; one under another key, once for its digest, and again only if it has a
partner with another content. Whatever else the files hold is not compared. How a difference is said is in `words`.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from hatch_wheelweights.checkpoint.tensors import bytes_to_read
from hatch_wheelweights.errors import PYTHON, ConfigError, Faults, Place
from hatch_wheelweights.looking.difference.facts import Comparison, Form, TensorDifference
from hatch_wheelweights.looking.difference.renames import Lone, paired
from hatch_wheelweights.looking.difference.sides import Side, is_of_reindexing, opened_sides
from hatch_wheelweights.looking.difference.values import EXACT, Tolerance, compared, content_of, tolerance_of
from hatch_wheelweights.looking.difference.words import difference_lines
from hatch_wheelweights.options.model import TensorOptions
from hatch_wheelweights.options.reading import keywords_of, read_keywords
from hatch_wheelweights.progress import working
from wheelweights.errors import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from hatch_wheelweights.checkpoint import LazyTensor
    from hatch_wheelweights.looking.difference.sides import Tensors
    from hatch_wheelweights.looking.difference.values import Content

__all__ = ["Difference", "diff", "diff_files"]

Contents: TypeAlias = "Mapping[str, Content]"


class Difference(Comparison):
    """Two files compared, as `diff` returns it: `print` it, or let a notebook show it as a page."""

    def __repr__(self) -> str:
        return "\n".join(difference_lines(self, PYTHON))

    def _repr_html_(self) -> str:
        from hatch_wheelweights.looking.difference.page import difference_fragment  # noqa: PLC0415 (for notebooks alone)

        return difference_fragment(self, PYTHON)


@dataclass(frozen=True)
class _Keywords(TensorOptions):
    """What `diff` takes: the options of both sides, and its own."""

    a: str | os.PathLike[str]
    b: str | os.PathLike[str]
    a_options: Mapping[str, Any] = field(default_factory=dict[str, Any], kw_only=True)
    b_options: Mapping[str, Any] = field(default_factory=dict[str, Any], kw_only=True)
    rtol: float = field(default=0, kw_only=True)
    atol: float = field(default=0, kw_only=True)


@keywords_of(_Keywords)
def diff(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    a_options: Mapping[str, Any] | None = None,
    b_options: Mapping[str, Any] | None = None,
    rtol: float = 0,
    atol: float = 0,
    **options: Any,
) -> Difference:
    """Compare the tensors of two files, each a checkpoint, a record, or a wheel with records.

    The options are those of a conversion, by the same names, and hold for both files; `a_options` and `b_options` hold
    for one of them, and win. Values are equal up to `|a - b| <= atol + rtol * |b|`; a tolerance that is not 0 also
    allows another dtype. Every tensor is read, a block at a time. Raises ConfigError for options that are wrong in
    themselves or go with no checkpoint, WheelweightsError for a file that cannot be opened. A tensor that cannot be
    read differs.
    """
    both = read_keywords(TensorOptions, options)
    sides = (
        Side(os.fspath(a), _own(a_options or {}, "a_options")),
        Side(os.fspath(b), _own(b_options or {}, "b_options")),
    )
    return diff_files(sides, both, tolerance_of(rtol, atol))


def _own(options: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return the options of one side, checked; raise one ConfigError with all faults, each at its place."""
    try:
        read = read_keywords(TensorOptions, options)
    except ConfigError as error:
        faults = Faults()
        faults.take(error, Place((place,)))
        raise ConfigError(*faults) from error
    return {name: getattr(read, name) for name, value in options.items() if value is not None}


def diff_files(
    sides: tuple[Side, Side], options: TensorOptions | None = None, tolerance: Tolerance = EXACT
) -> Difference:
    """Compare as `diff` does, by options that have been checked."""
    with ExitStack() as stack:
        left, right = opened_sides(sides, options or TensorOptions(), stack)
        ours, theirs = left.tensors, right.tensors
        with working(f"Comparing {left.path}", bytes_to_read([*ours.values(), *theirs.values()])):
            found = _compared(ours, theirs, tolerance)
        warnings = [*left.warnings, *right.warnings]
        if found.equal:  # then the layers that reindexing moved met their own
            warnings = [(path, warning) for path, warning in warnings if not is_of_reindexing(warning)]
        return replace(
            found,
            paths=(left.path, right.path),
            part_of=(left.part_of, right.part_of),
            notes=(*left.notes(right), *right.notes(left)),
            warnings=tuple(warnings),
        )


def _compared(ours: Tensors, theirs: Tensors, tolerance: Tolerance) -> Difference:
    """Compare the tensors of two files, whatever those are called."""
    comparing = _Comparing(tolerance)
    same = {key: comparing.pair(key, key, ours[key], theirs[key]) for key in ours if key in theirs}
    left, right = _contents(ours, theirs), _contents(theirs, ours)
    pairs = paired(_lone(ours, theirs, left), _lone(theirs, ours, right))
    renamed = {
        key: comparing.pair(key, other, ours[key], theirs[other], (left.get(key), right.get(other)))
        for key, other in pairs.partners.items()
    }
    found = same | renamed
    met = {*same, *pairs.partners.values()}
    only = (
        {key: _form(tensor) for key, tensor in ours.items() if key not in found},
        {key: _form(tensor) for key, tensor in theirs.items() if key not in met},
    )
    both = tuple(found[key] for key in ours if key in found)
    return Difference(("", ""), only, both, tolerance, pairs)


def _form(tensor: LazyTensor) -> Form:
    return Form(tensor.dtype, tensor.shape)


# Tensors of which each file has one


class _Comparing:
    """The comparison of pairs of tensors; those that are tied in both files are compared once."""

    def __init__(self, tolerance: Tolerance) -> None:
        self._tolerance = tolerance
        self._known: dict[Hashable, TensorDifference] = {}

    def pair(
        self,
        key: str,
        new_key: str,
        left: LazyTensor,
        right: LazyTensor,
        contents: tuple[Content | None, Content | None] = (None, None),
    ) -> TensorDifference:
        """Compare two tensors, which are read unless their contents are known to be equal."""
        forms = (_form(left), _form(right))
        same = (left.tie, right.tie, forms)
        found = self._known.get(same)
        if found is None:
            found = self._known[same] = self._read(TensorDifference(key, new_key, forms), left, right, contents)
        return replace(found, key=key, new_key=new_key)

    def _read(
        self,
        found: TensorDifference,
        left: LazyTensor,
        right: LazyTensor,
        contents: tuple[Content | None, Content | None],
    ) -> TensorDifference:
        values = fault = None
        ours, theirs = contents
        if (
            ours is not None
            and theirs is not None
            and ours.digest == theirs.digest
            and found.forms[0] == found.forms[1]
        ):
            values = ours.itself
        elif left.shape == right.shape:
            try:
                values = compared(left, right, self._tolerance)
            except WheelweightsError as error:
                fault = error.fact
        return replace(found, values=values, fault=fault, tolerance=self._tolerance)


# Tensors whose key is in one file only


def _lone(tensors: Tensors, others: Tensors, contents: Contents) -> dict[str, Lone]:
    found: dict[str, Lone] = {}
    for key, tensor in tensors.items():
        if key not in others:
            content = contents.get(key)
            known = None if content is None else (tensor.dtype, tensor.shape, content.digest)
            found[key] = Lone(tensor.shape, known, plain=content is not None and content.constant)
    return found


def _contents(tensors: Tensors, others: Tensors) -> dict[str, Content]:
    """Read the tensors whose key is in one file only, where the other has such a one of the same form.

    Tied tensors are read once. One that cannot be read has no content.
    """
    wanted = {_form(tensor) for key, tensor in others.items() if key not in tensors}
    known: dict[Hashable, Content | None] = {}
    found: dict[str, Content] = {}
    for key, tensor in tensors.items():
        if key in others or _form(tensor) not in wanted:
            continue
        tie = (tensor.tie, _form(tensor))
        if tie not in known:
            known[tie] = _read(tensor)
        if (content := known[tie]) is not None:
            found[key] = content
    return found


def _read(tensor: LazyTensor) -> Content | None:
    try:
        return content_of(tensor)
    except WheelweightsError:  # it is told if it has a partner by its name; else it is only in this file
        return None
