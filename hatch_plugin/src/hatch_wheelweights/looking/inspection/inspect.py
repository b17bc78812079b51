"""Looking into a file: kinds, keys, shapes, dtypes, sizes, and what a conversion would make of them.

Everything is a value here; how it is said and shown is in `words`, `terminal`, `page`, `notebook` and `document`. No
tensor is read, except small ones of a configuration that is asked for, and all of them for statistics.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.checkpoint import Account, collecting_later
from hatch_wheelweights.checkpoint.contents import naming
from hatch_wheelweights.checkpoint.values import type_name
from hatch_wheelweights.errors import CheckpointError, ConfigError, Fault, Text, Words
from hatch_wheelweights.looking.files import kind_of, open_file, part_of_record, parts_in, require_checkpoint, size_of
from hatch_wheelweights.looking.inspection.facts import FileFacts
from hatch_wheelweights.looking.inspection.outline import Distinct, holds, outline
from hatch_wheelweights.looking.inspection.statistics import statistics_of, times_read
from hatch_wheelweights.looking.inspection.table import table_of
from hatch_wheelweights.looking.inspection.tensors import TensorFacts
from hatch_wheelweights.looking.ready import part_note, ready
from hatch_wheelweights.looking.record_tensors import tensors_of_record
from hatch_wheelweights.looking.wheels import Wheel
from hatch_wheelweights.opening import Checkpoint
from hatch_wheelweights.options.model import TensorOptions
from hatch_wheelweights.progress import working
from hatch_wheelweights.steps.objects import part_of_key
from hatch_wheelweights.steps.select import likely_parts
from hatch_wheelweights.steps.survey import Survey, children_of
from wheelweights.dtypes import DTYPES
from wheelweights.errors import WheelweightsError, quoted

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from hatch_wheelweights.checkpoint import LazyTensor
    from hatch_wheelweights.checkpoint.module_classes import ModuleClass
    from hatch_wheelweights.looking.inspection.statistics import Statistics
    from hatch_wheelweights.looking.ready import Ready
    from hatch_wheelweights.options.model import ConversionOptions
    from hatch_wheelweights.steps.pipeline import StateDict
    from wheelweights import Record

__all__ = ["Wanted", "inspect_file", "record_facts"]

MAX_TOP_LEVEL: Final = 10_000
MAX_NBYTES: Final = 1 << 63
MAX_TABLES: Final = 4
_CUT: Final = "the file holds more than is listed here"


def inspect_file(path: str, options: ConversionOptions, wanted: Wanted | None = None) -> FileFacts:
    """Return what is in a checkpoint (under the options of a conversion), a record, a wheel, or a record of Burn.

    Raises WheelweightsError if the file cannot be opened or the options do not go with it. A tensor that cannot be read
    and a root that is not a state_dict are not errors here.
    """
    wanted = wanted or Wanted()
    file = open_file(path)
    require_checkpoint(options, file)
    if isinstance(file, Checkpoint):
        with file, naming(path), collecting_later():
            return _of_checkpoint(file, path, options, wanted)
    if isinstance(file, Wheel):
        with file:
            records = tuple(record_facts(file.open(name), file.files[name].size, wanted) for name in file.records)
        return FileFacts(path=path, kind=kind_of(file), size=file.size, find=wanted.find, records=records)
    return record_facts(file, size_of(path), wanted)


class Wanted:
    """Which tensors are wanted, and what of them.

    With `find`, a regular expression, those whose key (here or in the file) has a match. With `statistics`, every one
    of them is read. Raises ConfigError for what is no regular expression.
    """

    def __init__(self, find: str | None = None, *, statistics: bool = False) -> None:
        try:
            self.pattern = None if find is None else re.compile(find)
        except (re.error, RecursionError, OverflowError) as error:
            fact = f"expected a regular expression, found {quoted(find or '')}: {error}"
            raise ConfigError(Fault(None, fact)) from error
        self.find = find
        self.statistics = statistics

    def of(self, facts: Iterable[TensorFacts], tensors: Mapping[str, LazyTensor], path: str) -> tuple[TensorFacts, ...]:
        """Return the facts that are wanted, with statistics where they are asked for."""
        listed = [each for each in facts if self._is_found(each)]
        if not self.statistics:
            return tuple(listed)
        with working(f"Reading {path}", _bytes_read(listed, tensors)):
            return tuple(_with_statistics(listed, tensors))

    def _is_found(self, facts: TensorFacts) -> bool:
        return self.pattern is None or any(map(self.pattern.search, {facts.key, facts.source}))


def _bytes_read(facts: Iterable[TensorFacts], tensors: Mapping[str, LazyTensor]) -> int:
    """Return the bytes that statistics take to read, of tied tensors once, for showing progress."""
    read = (tensors[each.key] for each in facts if each.kept and each.fault is None)
    return sum({(one.tie, one.dtype, one.shape): one.nbytes * times_read(one) for one in read}.values())


def _with_statistics(facts: Iterable[TensorFacts], tensors: Mapping[str, LazyTensor]) -> Iterable[TensorFacts]:
    """Read each tensor once, tied ones too."""
    known: dict[Hashable, Statistics] = {}
    for each in facts:
        if not each.kept or each.fault is not None:
            yield each
            continue
        tensor = tensors[each.key]
        same = (tensor.tie, tensor.dtype, tensor.shape)
        try:
            if same not in known:
                known[same] = statistics_of(tensor)
            yield replace(each, statistics=known[same])
        except WheelweightsError as error:
            yield replace(each, fault=error.fact)


# A checkpoint


def _of_checkpoint(checkpoint: Checkpoint, path: str, options: ConversionOptions, wanted: Wanted) -> FileFacts:
    found = checkpoint.configuration(options.config_key) if options.config_key else None
    facts = FileFacts(
        path=path,
        kind=checkpoint.kind,
        size=checkpoint.size,
        find=wanted.find,
        metadata=checkpoint.metadata,
        warnings=(*checkpoint.warnings, *(found.warnings if found else ())),
        config=found.value if found else None,
    )
    try:
        taken = ready(checkpoint, options)
    except CheckpointError as problem:
        if options.top_level_key or _holds_state_dict(checkpoint, options):
            raise
        parts = likely_parts(checkpoint.tree, Account(checkpoint.size))
        tables = _tables(checkpoint, path, options, parts)
        facts = replace(facts, state_dicts=tuple(map(".".join, parts)), table=tables)
        facts = _with_problem(facts, problem, checkpoint)
        facts = _with_the_rest(facts, checkpoint, None, {}, wanted)
        checkpoint.check_unchanged()
        return facts
    facts = _with_tensors(facts, taken.tensors, wanted)
    if taken.problem is not None:
        facts = _with_problem(facts, taken.problem, checkpoint)
    note = part_note(taken.added)
    facts = replace(
        _with_classes(facts, checkpoint, taken.options),
        added=taken.added,
        notes=(*((note,) if note else ()), *facts.notes),
        table=_table(taken, path),
    )
    key = taken.options.top_level_key
    if key:
        facts = _with_the_rest(facts, checkpoint, _path(key), taken.tensors, Wanted(wanted.find))
    checkpoint.check_unchanged()  # statistics read twice
    return facts


def _table(taken: Ready[ConversionOptions], path: str, part: str = "") -> tuple[str, ...]:
    """Return the lines for pyproject.toml; none where the conversion would fail."""
    tensors = taken.tensors
    is_whole = tensors.report.fault is None and all(tensor.fault is None for tensor in tensors.values())
    return table_of(path, taken.options, part) if is_whole and tensors else ()


def _tables(
    checkpoint: Checkpoint, path: str, options: ConversionOptions, parts: Iterable[tuple[str, ...]]
) -> tuple[str, ...]:
    """Return the lines for a record of each of the first parts that could be meant."""
    lines: list[str] = []
    for part in islice(parts, MAX_TABLES):
        try:
            taken = ready(checkpoint, replace(options, top_level_key=part))
        except WheelweightsError:  # this part is no state_dict after all
            continue
        table = _table(taken, path, ".".join(part))
        lines += ["", *table] if lines and table else table
    return tuple(lines)


def _with_classes(facts: FileFacts, checkpoint: Checkpoint, options: TensorOptions) -> FileFacts:
    """Add classes and settings; a program that cannot be read is no reason to show nothing."""
    try:
        return replace(facts, modules=checkpoint.module_classes(options))
    except CheckpointError as error:
        warning = Words(
            "the classes of its modules cannot be read: ",
            error.fact if isinstance(error.fact, Text) else str(error.fact),
        )
        return replace(facts, warnings=(*facts.warnings, warning))


def _path(key: str | Iterable[str]) -> tuple[str, ...]:
    return (key,) if isinstance(key, str) else tuple(map(str, key))


def _holds_state_dict(checkpoint: Checkpoint, options: TensorOptions) -> bool:
    """Tell whether the root is a state_dict, so that something else is wrong."""
    try:
        checkpoint.tensors(TensorOptions(whole_model=options.whole_model), incomplete=True)
    except CheckpointError:
        return False
    return True


def _with_problem(facts: FileFacts, problem: CheckpointError, checkpoint: Checkpoint) -> FileFacts:
    return replace(facts, problem=problem, top_level=_top_level(checkpoint))


def _with_tensors(facts: FileFacts, tensors: StateDict, wanted: Wanted) -> FileFacts:
    report = tensors.report
    listed = _tensor_facts(tensors)
    lost = () if report.fault is None else (report.fault.fact,)
    read = wanted.of(listed, tensors, facts.path)  # reading can add warnings
    return replace(
        facts,
        tensors=read,
        total=len(listed),
        others=report.others,
        warnings=(*facts.warnings, *lost, *report.warnings),
        notes=tuple(report.notes),
    )


def _with_the_rest(
    facts: FileFacts,
    checkpoint: Checkpoint,
    without: tuple[str, ...] | None,
    part: Mapping[str, LazyTensor],
    wanted: Wanted,
) -> FileFacts:
    """Add what the file holds beside the part under the keys `without`; where there is no such part, all of it.

    `part` are the tensors of that part: what shares memory with them is tied to them.
    """
    found = outline(checkpoint.tree, without, Account(checkpoint.size))
    firsts: dict[Hashable, str] = {}
    for key, tensor in part.items() if found.tensors else ():
        firsts.setdefault((tensor.tie, tensor.dtype, tensor.shape), key)
    listed = [_plain_facts(key, tensor, firsts) for key, tensor in found.tensors.items()]
    beside = wanted.of(listed, found.tensors, facts.path)
    modules = _classes_beside(checkpoint, without) if beside else {}
    return replace(
        facts,
        beside=beside,
        beside_modules=modules,
        total=facts.total or len(listed),
        rest={key: said for key, said in found.values.items() if key not in modules},
        is_cut=found.is_cut,
        notes=(*facts.notes, *((_CUT,) if found.is_cut else ())),
    )


def _classes_beside(checkpoint: Checkpoint, without: tuple[str, ...] | None) -> dict[str, ModuleClass]:
    """Return the classes of the modules outside a part; none where they cannot be read: `_with_classes` warns of it."""
    try:
        classes = checkpoint.module_classes(TensorOptions())
    except CheckpointError:
        return {}
    if without is None:
        return dict(classes)
    part = ".".join(without)
    return {key: its for key, its in classes.items() if key != part and not key.startswith(f"{part}.")}


def _plain_facts(key: str, tensor: LazyTensor, firsts: dict[Hashable, str]) -> TensorFacts:
    first = firsts.setdefault((tensor.tie, tensor.dtype, tensor.shape), key)
    fault = None if tensor.fault is None else tensor.fault.fact
    nbytes = None if fault else _nbytes(tensor.dtype, tensor.shape)
    tied_to = first if first != key else None
    return TensorFacts(key, key, tensor.shape, tensor.dtype, tensor.dtype, nbytes, tied_to=tied_to, fault=fault)


def _tensor_facts(tensors: StateDict) -> tuple[TensorFacts, ...]:
    """Return the facts of each tensor in the checkpoint's order; those that the filters leave out are not `kept`."""
    firsts: dict[Hashable, str] = {}
    found: list[TensorFacts] = []
    for row in tensors.report.rows:
        tied_to = fault = None
        if row.kept:
            tensor = tensors[row.name]
            first = firsts.setdefault((tensor.tie, tensor.dtype, tensor.shape), row.name)
            tied_to = first if first != row.name else None
            fault = None if tensor.fault is None else tensor.fault.fact
        nbytes = None if fault else _nbytes(row.new_dtype, row.shape)
        dtypes = (row.dtype, row.new_dtype)
        found.append(TensorFacts(row.name, row.key, row.shape, *dtypes, nbytes, row.kept, tied_to, fault, row.notes))
    return tuple(found)


def _nbytes(dtype: str, shape: tuple[int, ...]) -> int | None:
    """Return the bytes of a tensor; None for an unknown dtype, and for a shape that only a damaged file has."""
    nbytes = math.prod(shape) * DTYPES[dtype].itemsize if dtype in DTYPES else MAX_NBYTES
    return nbytes if 0 <= nbytes < MAX_NBYTES else None


def _top_level(checkpoint: Checkpoint) -> dict[str, str]:
    """Return the keys at the root and what they hold; for a root without keys, the root itself under an empty key."""
    tree = checkpoint.tree
    survey = Survey(tree, whole_model=False, account=Account(checkpoint.size))
    children = children_of(tree, whole_model=False)
    if children is None:
        return {"": holds(tree, survey)}
    named = ((part_of_key(name), name, value) for name, value in children)
    shown = ((f"<{type_name(name)}>" if part is None else part, value) for part, name, value in named)
    distinct = Distinct()
    return {distinct.of(name): holds(value, survey) for name, value in islice(shown, MAX_TOP_LEVEL)}


# A record


def record_facts(record: Record, size: int, wanted: Wanted) -> FileFacts:
    """Return what is in a record of so many bytes."""
    firsts: dict[Hashable, str] = {}
    listed: list[TensorFacts] = []
    for key in record:
        info = record.info(key)
        first = key if info.offset is None else firsts.setdefault(info.offset, key)
        tied_to = first if first != key else None
        listed.append(TensorFacts(key, info.source, info.shape, info.dtype, info.dtype, info.nbytes, tied_to=tied_to))
    return FileFacts(
        path=record.path,
        kind=kind_of(record),
        size=size,
        find=wanted.find,
        tensors=wanted.of(listed, tensors_of_record(record) if wanted.statistics else {}, record.path),
        total=len(listed),
        metadata=record.metadata,
        parts=parts_in(record),
        part_of=part_of_record(record),
    )
