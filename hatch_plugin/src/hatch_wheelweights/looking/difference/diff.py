"""Comparing two files: tensors of the same key, then those that are the same under another key.

Tensors are equal if they have the same shape, dtype and values, where NaN equals NaN. Both files are read a block at a
time: a tensor under the same key in both, once, and again where that key seems to be another tensor's (then vectors
and numbers, too: many layers have equal ones); one under another key, once for its digest, and again only if it has a
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
from hatch_wheelweights.looking.difference.moves import have_moved, perhaps_moved, repeated
from hatch_wheelweights.looking.difference.renames import Lone, paired
from hatch_wheelweights.looking.difference.sides import Side, is_of_reindexing, opened_sides
from hatch_wheelweights.looking.difference.values import EXACT, Tolerance, compared, content_of, tolerance_of
from hatch_wheelweights.looking.difference.words import difference_lines
from hatch_wheelweights.options.model import TensorOptions
from hatch_wheelweights.options.reading import keywords_of, read_keywords
from hatch_wheelweights.progress import working
from wheelweights.errors import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator, Mapping, Set

    from hatch_wheelweights.checkpoint import LazyTensor
    from hatch_wheelweights.looking.difference.renames import Pairs
    from hatch_wheelweights.looking.difference.sides import Tensors
    from hatch_wheelweights.looking.difference.values import Content

__all__ = ["Difference", "diff", "diff_files"]

Contents: TypeAlias = "Mapping[str, Content]"
_Known: TypeAlias = "dict[Hashable, Content | None]"  # by what tensors are tied by, and their form


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
    moved, (left, right) = _moved(same, ours, theirs)
    pairs = paired(
        *(
            {key: _lone(side[key], contents.get(key)) for key in side if key not in same or key in moved}
            for side, contents in ((ours, left), (theirs, right))
        )
    )
    taken = set(pairs.partners.values())
    renamed = {
        key: comparing.pair(key, other, ours[key], theirs[other], (left.get(key), right.get(other)))
        for key, other in pairs.partners.items()
    }
    found = {key: one for key, one in same.items() if key not in renamed and key not in taken} | renamed
    met = {one.new_key for one in found.values()}
    only = (
        {key: _form(tensor) for key, tensor in ours.items() if key not in found},
        {key: _form(tensor) for key, tensor in theirs.items() if key not in met},
    )
    both = tuple(found[key] for key in ours if key in found)
    return Difference(("", ""), only, both, tolerance, replace(pairs, undecided=tuple(_left_alone(pairs, only))))


def _left_alone(
    pairs: Pairs, only: tuple[Collection[str], Collection[str]]
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield the keys with equal contents that have no partner, not even under their own key."""
    for ours, theirs in pairs.undecided:
        these, those = (
            tuple(key for key in keys if key in side) for keys, side in ((ours, only[0]), (theirs, only[1]))
        )
        if these and those:
            yield these, those


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


# Tensors whose key is in one file only, or is another tensor's in the other


def _lone(tensor: LazyTensor, content: Content | None) -> Lone:
    known = None if content is None else (tensor.dtype, tensor.shape, content.digest)
    return Lone(tensor.shape, known, plain=content is not None and content.constant)


def _moved(
    same: Mapping[str, TensorDifference], ours: Tensors, theirs: Tensors
) -> tuple[set[str], tuple[Contents, Contents]]:
    """Return the keys in both files that are to be paired anew, and the contents of those and of keys in one file.

    There are none unless contents show that tensors moved. Then all that is not equal may have, and small tensors that
    several keys have go with it, such as the bias of a layer that moved: it is equal to that of any other layer.
    """
    known: tuple[_Known, _Known] = ({}, {})

    def contents_of(moved: Set[str]) -> tuple[Contents, Contents]:
        left, right = (
            {key: tensor for key, tensor in side.items() if key not in same or key in moved} for side in (ours, theirs)
        )
        return _contents(left, right, known[0]), _contents(right, left, known[1])

    moved = perhaps_moved(same.values())
    if moved and have_moved(moved, contents_of(moved)):
        unequal = {key for key, found in same.items() if found.state != "equal"}
        small = {key for key, found in same.items() if key not in unequal and len(found.forms[0].shape) <= 1}
        contents = contents_of(unequal | small)
        return unequal | (small & (repeated(contents[0]) | repeated(contents[1]))), contents
    return set(), contents_of(set())


def _contents(tensors: Tensors, others: Tensors, known: _Known) -> dict[str, Content]:
    """Read the tensors that the other file has one of the same form of, unless they are known.

    Tied tensors are read once. One that cannot be read has no content.
    """
    wanted = {_form(tensor) for tensor in others.values()}
    found: dict[str, Content] = {}
    for key, tensor in tensors.items():
        if _form(tensor) not in wanted:
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
