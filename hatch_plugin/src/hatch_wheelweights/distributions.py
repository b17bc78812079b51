"""Records whose tensors go into distributions of their own: which tensor into which, and what is written for each.

Works on records that have been written whole, and knows neither Hatch nor wheels. What a part and an index are is in
`wheelweights.parts`.

The split follows from the tensors alone (their places, keys, dtypes, shapes and ties) and from the largest size: so
every build of the same weights finds the same one, whichever release makes it and whatever the metadata say.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.errors import ConfigError, Fault
from hatch_wheelweights.options.toml import hook_place
from wheelweights import write_record
from wheelweights.errors import backticked
from wheelweights.parts import Part
from wheelweights.record import MARK_BYTES, buffer_size, tensors_digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from hatch_wheelweights.options.distribution import Distribution
    from wheelweights import Record

__all__ = ["PartPlan", "indexed", "requirements", "split", "write_index", "write_parts"]

_FRAME_BYTES: Final = 256  # of a header without metadata and tensors: more than there are
_ENTRY_BYTES: Final = 80  # of a tensor in a header, beside texts and shape: likewise


@dataclass(frozen=True)
class PartPlan:
    """One of the distributions: what it is called, and the keys of the tensors in it, by the place of their record.

    `package` is the import package that it installs. The keys of a record are in its order.
    """

    distribution: str
    version: str
    package: str
    keys: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class _Unit:
    """Tensors that share their bytes, and go together."""

    place: str
    keys: tuple[str, ...]
    nbytes: int  # in the buffers of a record, and in its header


def split(records: Mapping[str, Record], distribution: Distribution) -> tuple[PartPlan, ...]:
    """Divide the tensors of whole records, by the places of these in the project's wheel, among distributions.

    Each takes at most the largest size, in the bytes that its records have without their metadata. There are as few as
    a packing of the largest first finds, and they are about equally large. Raises ConfigError for a tensor that is
    larger than that by itself, and for a distribution whose import package the project's wheel has too.
    """
    units = sorted(_units(records), key=lambda unit: -unit.nbytes)  # stable: equals stay in the order of the records
    limit = distribution.max_size
    room = sum(unit.nbytes for unit in units) if limit is None else limit - _FRAME_BYTES * len(records)
    if units and units[0].nbytes > room:
        raise _too_large(units[0], distribution)
    count = _least(units, room) if units else 0
    while (bins := _packed(units, count, room)) is None:
        count += 1
    keys = ((place, key) for place, record in records.items() for key in record)
    order = {key: number for number, key in enumerate(keys)}
    parts = tuple(_plan(units, order, distribution, number, count) for number, units in enumerate(bins, 1))
    packages = {place.partition("/")[0].lower() for place in records}
    for part in parts:
        if part.package in packages:
            raise _taken_package(part)
    return parts


def _units(records: Mapping[str, Record]) -> Iterator[_Unit]:
    for place, record in records.items():
        ties: dict[object, list[str]] = {}
        for key in record:
            info = record.info(key)
            ties.setdefault((info.offset, info.dtype, info.shape), []).append(key)
        for keys in ties.values():
            info = record.info(keys[0])
            header = sum(_entry_bytes(key, record.info(key).source, info.shape) for key in keys)
            yield _Unit(place, tuple(keys), buffer_size(info.nbytes) + MARK_BYTES + header)


def _entry_bytes(key: str, source: str, shape: Sequence[int]) -> int:
    """Return no fewer bytes than a tensor's entry in a header takes."""
    texts = len(key.encode()) + (len(source.encode()) if source != key else 0)
    return _ENTRY_BYTES + texts + 9 * len(shape)


def _too_large(unit: _Unit, distribution: Distribution) -> ConfigError:
    tensor = f"tensor {backticked(unit.keys[0])} of {backticked(unit.place)}, which takes {unit.nbytes:,}"
    fact = f"expected room for every tensor, found {distribution.max_size:,} bytes and {tensor}"
    return ConfigError(Fault(hook_place() / "distribution" / "max-size", fact, remedy="Make it larger."))


def _taken_package(part: PartPlan) -> ConfigError:
    fact = f"expected an import package of its own, found that of the project: {part.package}"
    remedy = "Choose a name that no package of the project has: an installation would put one over the other."
    return ConfigError(Fault(hook_place() / "distribution" / "name", fact, remedy=remedy))


def _least(units: Sequence[_Unit], room: int) -> int:
    """Return a number of parts that no packing goes below, so that the search begins near its end.

    Of units larger than a half, a third, ... of the room, no part takes more than one, two, ...
    """
    bounds = [-(-sum(unit.nbytes for unit in units) // room)]
    for each in range(1, 9):
        large = sum(unit.nbytes * (each + 1) > room for unit in units)
        bounds.append(-(-large // each))
    return max(1, *bounds)


def _packed(units: Sequence[_Unit], count: int, room: int) -> list[list[_Unit]] | None:
    """Put the largest first, each into what is emptiest; None where so many do not hold them."""
    bins: list[list[_Unit]] = [[] for _ in range(count)]
    fill = [(0, number) for number in range(count)]
    for unit in units:
        taken, number = fill[0]
        if taken + unit.nbytes > room:
            return None
        heapq.heapreplace(fill, (taken + unit.nbytes, number))
        bins[number].append(unit)
    return bins


def _plan(
    units: Iterable[_Unit], order: Mapping[tuple[str, str], int], distribution: Distribution, number: int, count: int
) -> PartPlan:
    name = distribution.part_name(number, count)
    keys: dict[str, list[str]] = {}
    for place, key in sorted(((unit.place, key) for unit in units for key in unit.keys), key=order.__getitem__):
        keys.setdefault(place, []).append(key)
    return PartPlan(name, distribution.version, name.replace("-", "_"), keys)


def requirements(parts: Iterable[PartPlan]) -> list[str]:
    """Return what requires all of them: `big-weights-1==3`, ..."""
    return [f"{part.distribution}=={part.version}" for part in parts]


def write_parts(part: PartPlan, records: Mapping[str, Record], folder: Path) -> dict[str, Path]:
    """Write what one distribution holds of whole records into a folder; return the files by their names in it.

    A name is the place of the record in the project's wheel. The arrays are views of the whole records.
    """
    files: dict[str, Path] = {}
    for number, (place, keys) in enumerate(part.keys.items()):
        record, files[place] = records[place], folder / f"{part.package}.{number}.mpk"
        write_record(
            files[place],
            {key: record[key] for key in keys},
            metadata=_metadata(record, part={"distribution": part.distribution, "version": part.version}),
            source_keys={key: record.info(key).source for key in keys},
        )
    return files


def _metadata(record: Record, **more: Any) -> dict[str, Any]:
    """Return what a part says: what made it, from what."""
    return {name: record.metadata[name] for name in ("generator", "source") if name in record.metadata} | more


def indexed(record: Record, place: str, parts: Sequence[PartPlan]) -> dict[str, Any]:
    """Return what the index of a whole record says: all that the record says, and where its tensors are."""
    holding = [part for part in parts if place in part.keys]
    number_of = {key: number for number, part in enumerate(holding) for key in part.keys[place]}
    named = [
        Part(
            part.distribution,
            part.version,
            part.package,
            place,
            tensors_digest({key: record.info(key) for key in part.keys[place]}),
            len(part.keys[place]),
        ).metadata
        for part in holding
    ]
    order = {"order": [number_of[key] for key in record]} if len(holding) > 1 else {}
    return {**record.metadata, "parts": named, **order}


def write_index(record: Record, place: str, parts: Sequence[PartPlan], output: Path) -> int:
    """Write the index of a whole record, which stands in its place; return its size in bytes."""
    return write_record(output, {}, metadata=indexed(record, place, parts))
