"""A record whose tensors are in distributions of their own: what it says of them, and all of them as one record.

In the place of such a record lies an index: a record without tensors whose metadata has

- `parts`: for each part, the `distribution` and its `version`, the import `package` that it installs and the `name` of
  a record in it, the digest of that record's `tensors` (`Record.tensors_digest`), and how many they are
  (`count`);
- `order`: where there are several parts, the number of the part of each tensor, in the order of the whole record. The
  tensors of one part are in that order as well.

A part says in its own metadata, as `part`, which `distribution` and `version` it belongs to. Parts belong together by
their digests: which release of anything made them does not matter.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from wheelweights.errors import MissingRecordError, RecordError, WheelweightsError, backticked, listed
from wheelweights.plain import is_dict, is_sequence
from wheelweights.record import Record
from wheelweights.record.layout import MAX_TENSORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from wheelweights.record import TensorInfo
    from wheelweights.record.mapping import Progress, Raw

__all__ = ["Part", "join", "parts_of"]

MAX_PARTS: Final = 10_000
_FORMS: Final = {  # of what is text, all of it: names that lead nowhere else
    "distribution": re.compile("[A-Za-z0-9](?:[A-Za-z0-9._-]{0,200}[A-Za-z0-9])?"),
    "version": re.compile("[A-Za-z0-9][A-Za-z0-9.!+_-]{0,200}"),
    "package": re.compile("[A-Za-z_][A-Za-z0-9_]{0,200}"),
    "name": re.compile(r"(?!\.)[^/\\:\0]+(?:/(?!\.)[^/\\:\0]+)*"),
    "tensors": re.compile("[0-9a-f]{64}"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a record: where it is, and what identifies its tensors."""

    distribution: str
    version: str
    package: str
    name: str
    tensors: str
    count: int

    @property
    def requirement(self) -> str:
        """What requires it: `big-weights-1==3`."""
        return f"{self.distribution}=={self.version}"

    @property
    def metadata(self) -> dict[str, str | int]:
        """What an index says of it."""
        return {name: getattr(self, name) for name in (*_FORMS, "count")}


def parts_of(metadata: Mapping[str, Any], path: str) -> tuple[Part, ...]:
    """Return the parts that a record's metadata name; none where the record has its tensors itself.

    Raises RecordError, with the path, for parts that are not well-formed.
    """
    found: object = metadata.get("parts", [])
    if not is_sequence(found) or len(found) > MAX_PARTS:
        raise _malformed(f"expected a list of at most {MAX_PARTS:,} parts", path)
    parts = tuple(_part(one, path) for one in found)
    if len({(part.package, part.name) for part in parts}) != len(parts):
        raise _malformed("expected each part once", path)
    return parts


def _part(found: object, path: str) -> Part:
    if not is_dict(found) or found.keys() != {*_FORMS, "count"}:
        raise _malformed(f"expected parts with {listed([*_FORMS, 'count'])}", path)
    for name, form in _FORMS.items():
        if not isinstance(found[name], str) or not form.fullmatch(found[name]):
            raise _malformed(f"expected the {name} of a part, found {backticked(found[name])}", path)
    if type(found["count"]) is not int or not 0 <= found["count"] <= MAX_TENSORS:
        raise _malformed(f"expected the number of tensors of a part, found {backticked(found['count'])}", path)
    return Part(**found)


def _malformed(fact: str, path: str) -> RecordError:
    return RecordError(f"malformed index of parts: {fact}", path=path, remedy="Build the package again.")


def join(index: Record, opened: Callable[[Part], Record], *, widen: bool, reopen: Any) -> Record:
    """Return one record over all parts of an index; nothing is copied, and no tensor is read.

    `opened` opens a part; the errors that it raises are told with the distribution and the command that mends it.
    Raises RecordError for a part that is missing, of another version, or has other tensors than the index was made for.
    """
    parts = parts_of(index.metadata, index.path)
    order = _order(index.metadata, parts, index.path)
    records = [_checked(part, opened, index.path) for part in parts]
    keys: list[Iterator[str]] = [iter(record) for record in records]
    homes: dict[str, Record] = {}
    for number in order:
        homes.setdefault(next(keys[number]), records[number])
    if len(homes) != len(order):
        raise _malformed("expected each tensor in one part", index.path)
    infos: dict[str, TensorInfo] = {key: record.info(key) for key, record in homes.items()}
    if len({info.source for info in infos.values()}) != len(infos):
        raise _malformed("expected each tensor to have a source of its own", index.path)
    stored = _Joined(index, homes)
    return Record(infos, stored, metadata=index.metadata, path=index.path, widen=widen, reopen=reopen)


@dataclass(frozen=True, slots=True)
class _Joined:
    """The bytes of several records as those of one."""

    index: Record
    homes: Mapping[str, Record]

    def raw(self, key: str) -> NDArray[np.uint8]:
        return self.homes[key].raw(key)

    def writable(self) -> Raw:
        parts = {id(record): record.writable() for record in self._parts()}
        return lambda key: parts[id(self.homes[key])](key)

    def verify(self, progress: Progress | None) -> None:
        """Check every byte of the index and of all parts."""
        self.index.verify(progress=progress)
        for record in self._parts():
            record.verify(progress=progress)

    def _parts(self) -> Iterable[Record]:
        return {id(record): record for record in self.homes.values()}.values()


def _checked(part: Part, opened: Callable[[Part], Record], path: str) -> Record:
    shown = f"distribution {backticked(part.distribution)} {part.version}"
    again = f"pip install --force-reinstall {part.requirement}"
    try:
        record = opened(part)
    except MissingRecordError as error:
        fact = f"expected {shown} with a part of this record, found none"
        raise MissingRecordError(fact, path=path, remedy=f"Install it: pip install {part.requirement}") from error
    except WheelweightsError as error:
        fact = f"expected {shown} with a part of this record, found: {error.fact}"
        raise RecordError(fact, path=path, remedy=f"Reinstall it: {again}") from error
    said = record.metadata.get("part")
    said = said if is_dict(said) else {}
    if said.get("distribution") != part.distribution or said.get("version") != part.version:
        found = f"{said.get('distribution', 'none')} {said.get('version', '')}".strip()
        fact = f"expected {shown} with a part of this record, found a part of {backticked(found)}"
        raise RecordError(fact, path=path, remedy=f"Install the one that belongs to it: {again}")
    if record.tensors_digest != part.tensors or len(record) != part.count:
        raise RecordError(
            f"expected {shown} with the tensors that this record was built with, found others",
            path=path,
            remedy=f"Reinstall it: {again}; whoever built it gives other weights another version.",
        )
    return record


def _order(metadata: Mapping[str, Any], parts: Sequence[Part], path: str) -> list[int]:
    """Return the number of the part of each tensor."""
    found: object = metadata.get("order")
    if found is None and len(parts) == 1:
        return [0] * parts[0].count
    counts = {number: part.count for number, part in enumerate(parts) if part.count}
    if not is_sequence(found) or any(type(number) is not int for number in found) or Counter(found) != counts:
        raise _malformed("expected an order with every tensor of every part", path)
    return list(found)
