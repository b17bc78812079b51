"""The account between a checkpoint's tree and its state_dict: every tensor is written, excluded, or told of.

Knows what is an error, a warning or a note. A tensor that torch's own `state_dict()` would leave out as well (a plain
attribute of a module) is a warning. One that only code could name is an error: what an object holds, or what the whole
numbers of a quantised layer need to mean anything. What holds no tensor is told in a line.
"""

from __future__ import annotations

import re
from collections.abc import Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from hatch_wheelweights.checkpoint import Account, Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.values import type_name
from hatch_wheelweights.errors import EXCLUDE, TOP_LEVEL_KEY, CheckpointError, Do, Setting, Words
from hatch_wheelweights.steps.flatten import MIN_FILE
from hatch_wheelweights.steps.objects import everything, is_module
from hatch_wheelweights.steps.report import LeftOut, Report
from hatch_wheelweights.steps.select import NO_CODE, whole_model_error
from hatch_wheelweights.steps.survey import is_foreign
from wheelweights.errors import SHOWN_CHARACTERS, SHOWN_ITEMS, backticked, counted, listed, quoted
from wheelweights.formats import HEAD_BYTES, Format, format_of
from wheelweights.plain import is_collection, is_dict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hatch_wheelweights.checkpoint.tensors import Storage
    from hatch_wheelweights.steps.flatten import Beside, Flat

__all__ = ["Entry", "examine", "settle", "unreached"]

STEPS_PER_NODE: Final = 2
BYTES_PER_NODE: Final = 80
_FILES: Final = {Format.ZIP, Format.PYTORCH_LEGACY, Format.PICKLE, Format.SAFETENSORS, Format.NUMPY, Format.RECORD}
_RANDOM: Final = re.compile(r"numpy\.random\.|torch\._C\.Generator|torch\.Generator|random\.Random")  # no weights
_QUANTISED: Final = re.compile(r"quantized|torch\.ScriptObject")  # of the class of an object
_EXTRA_STATE: Final = "_extra_state"  # torch's name for what a module's get_extra_state() gives


@dataclass
class _Held:
    """What is held by something beside the tensors: tensors that no key leads to, and an object, if there is one."""

    tensors: list[LazyTensor] = field(default_factory=list[LazyTensor])
    hidden: bool = False  # one of them is in an object, or quantised
    only_random: bool = True  # all of them are the state of random number generators
    file: Format | None = None  # bytes that are a file of a kind that has tensors
    an_object: Global | Opaque | None = None


@dataclass
class Entry:
    """Something beside the tensors, and what it holds; `name` is its key after remap and reindex."""

    beside: Beside
    held: _Held
    name: str

    @property
    def is_lost(self) -> bool:
        """Whether tensors would be lost that torch has a use for, or a module that is none."""
        role, held = self.beside.role, self.held
        if role == "buffer":
            return False
        if role == "attribute":
            return bool(held.tensors) and (held.hidden or self.beside.packed)
        if held.tensors:
            return not held.only_random
        return role == "module" and not is_module(self.beside.value)

    def __str__(self) -> str:
        value, tensors = self.beside.value, len(self.held.tensors)
        holds = f", {counted(tensors, 'tensor')}" if tensors and not isinstance(value, LazyTensor) else ""
        was = f", {backticked(self.beside.key)} in the checkpoint" if self.name != self.beside.key else ""
        return f"{backticked(self.name)} ({_kind(value, self.held)}{holds}{was})"


def examine(flat: Flat, account: Account) -> list[Entry]:
    """Return what stands beside the tensors and is worth a word."""
    search = _Search(flat, account)
    # Buffers first: what they share with an attribute is no loss
    entries = (
        Entry(one, search.count(one.value), one.key)
        for one in sorted(flat.beside, key=lambda one: one.role != "buffer")
    )
    return [
        entry
        for entry in entries
        if entry.beside.role == "item" or entry.is_lost or entry.held.tensors or entry.held.file
    ]


def settle(entries: Sequence[Entry], wanted: Callable[[str], bool], report: Report, flat: Flat) -> None:
    """Say in the report what becomes of everything that stands beside the tensors and has a name that is wanted.

    Sets its `fault` where a tensor would be lost.
    """
    for entry in entries:
        if entry.beside.role == "item":
            report.add_other(entry.beside.key, _described(entry.beside.value))
    kept = [entry for entry in entries if wanted(entry.name)]
    report.left_out = [
        LeftOut(entry.name, tuple(entry.held.tensors), not wanted(entry.name))
        for entry in entries
        if entry.held.tensors
    ]
    _tell(kept, report, whole_model=flat.whole_model)
    if optimizers := [key for key in flat.optimizers if key and wanted(key)]:
        are = "is the state of an optimizer" if len(optimizers) == 1 else "are states of optimizers"
        report.warnings.append(Words(f"{listed(optimizers)} {are}, and in the record", *_MEANT))


def _tell(entries: Sequence[Entry], report: Report, *, whole_model: bool) -> None:
    buffers = [entry.name for entry in entries if entry.beside.role == "buffer" and entry.held.tensors]
    lost = [entry for entry in entries if entry.is_lost]
    left = [entry for entry in entries if entry.beside.role != "buffer" and not entry.is_lost]
    loose = [entry for entry in left if entry.held.tensors]
    files = [entry for entry in left if entry.held.file and not entry.held.tensors]
    others = [entry for entry in left if not (entry.held.tensors or entry.held.file)]
    objects = [entry for entry in others if _is_state(entry)]
    report.values = [entry.name for entry in others if not _is_state(entry)]
    if lost:
        report.fault = _lost(lost, whole_model=whole_model)
    if loose:
        report.warnings.append(Words(f"left out {_listed(loose)}: {_NEITHER}", *_MEANT))
    if files:
        report.warnings.append(Words(f"left out {_listed(files)}: bytes that may hold tensors", *_MEANT))
    if objects:
        report.warnings.append(Words(f"left out {_listed(objects)}: a record holds tensors alone", *_MEANT))
    if buffers:
        report.notes.append(f"left out {listed(buffers)}, as torch's state_dict() does: not persistent")


_NEITHER: Final = "neither parameters nor buffers; torch's state_dict() has them only where a class adds them"
_MEANT: Final = ("; name in ", EXCLUDE, " what is not needed")


def unreached(
    tree: Any, storages: Mapping[str, Storage], account: Account, found: Iterable[LazyTensor] = ()
) -> list[str]:
    """Return the names of the storages that a file refers to and no tensor of its tree is made of.

    The tree is not searched for the storages of tensors that were `found` in it before: mostly, those are all.
    """
    left = {id(storage): name for name, storage in storages.items()}
    for tensor in found:
        for storage in tensor.storages:
            left.pop(id(storage), None)
    seen: set[int] = set()
    pending = [tree]
    while pending and left:
        node = pending.pop()
        if not _is_node(node) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, LazyTensor):
            for storage in node.storages:
                left.pop(id(storage), None)
        for part in everything(node):
            account.charge(1, BYTES_PER_NODE)
            pending.append(part)
    return list(left.values())


def _is_node(value: Any) -> bool:
    return isinstance(value, (LazyTensor, Opaque, Global)) or is_dict(value) or is_collection(value)


class _Search:
    """Looks for tensors that no key leads to; each node of the tree is looked at once."""

    def __init__(self, flat: Flat, account: Account) -> None:
        self.account = account
        self.known = {tensor.tie for tensor in flat.tensors.values()}
        self.seen = set(flat.entered)

    def count(self, value: Any) -> _Held:
        """Return what a value holds that was not found before."""
        held = _Held()
        pending: list[tuple[Any, Global | Opaque | None]] = [(value, None)]
        while pending:
            node, inside = pending.pop()
            if isinstance(node, bytes):
                held.file = held.file or _file_in(node)
            if not _is_node(node) or id(node) in self.seen:
                continue
            self.seen.add(id(node))
            if is_foreign(node):
                held.an_object = held.an_object or node
                inside = inside or node
            if isinstance(node, LazyTensor):
                self.note(node, held, inside)
            for part in everything(node):
                self.account.charge(STEPS_PER_NODE, BYTES_PER_NODE)
                pending.append((part, inside))
        return held

    def note(self, tensor: LazyTensor, held: _Held, inside: Global | Opaque | None) -> None:
        if tensor.tie not in self.known:
            self.known.add(tensor.tie)
            held.tensors.append(tensor)
            is_random = inside is not None and _RANDOM.match(str(inside)) is not None
            held.only_random = held.only_random and is_random
            in_object = inside is not None and not is_random
            held.hidden = held.hidden or in_object or tensor.dtype.startswith(("qint", "quint"))


def _file_in(content: bytes) -> Format | None:
    """Return what bytes are that may hold tensors: what torch.save, pickle, numpy or safetensors wrote."""
    found = format_of(content[:HEAD_BYTES]) if len(content) >= MIN_FILE else None
    return found if found in _FILES else None


def _is_state(entry: Entry) -> bool:
    """Tell whether something without tensors may still matter to a model: an object, or the extra state of a module."""
    value = entry.beside.value
    is_extra = entry.beside.key.rpartition(".")[2] == _EXTRA_STATE and value is not None
    return entry.held.an_object is not None or is_extra


def _lost(entries: Sequence[Entry], *, whole_model: bool) -> CheckpointError:
    for entry in entries:
        if is_module(entry.beside.value) and entry.beside.role == "item" and not whole_model:
            return whole_model_error(entry.beside.value, f" at {backticked(entry.name)}")
    shown = [entry.name for entry in islice(entries, SHOWN_ITEMS)]
    patterns = [f"^{re.escape(name[:SHOWN_CHARACTERS])}" for name in shown]
    leave = Setting(EXCLUDE, patterns) if len(shown) == len(entries) else Words("name them in ", EXCLUDE)
    return CheckpointError(
        f"expected every tensor under a key of its own, found {_listed(entries)}",
        found=tuple(shown),
        details=[NO_CODE],
        remedy=Do(*_what_to_save(entries, whole_model=whole_model), " To leave them out: ", leave, "."),
    )


def _what_to_save(entries: Sequence[Entry], *, whole_model: bool) -> tuple[str, ...]:
    if any(_QUANTISED.search(_text_of(entry.held.an_object)) for entry in entries):
        return ("Save the model as it was before it was quantised.",)
    if whole_model:
        return ('Save it where its classes are: torch.save(model.state_dict(), "model.pt").',)
    return ("Save them in a dict of tensors, or set ", TOP_LEVEL_KEY, " to what holds them.")


def _text_of(node: Global | Opaque | None) -> str:
    return "" if node is None else str(node)


def _kind(value: Any, held: _Held) -> str:
    if isinstance(value, (Global, Opaque)):
        return backticked(value)
    if isinstance(value, LazyTensor):
        return f"{value.dtype} tensor of shape {value.shape}"
    return type_name(value) + (f" with {backticked(held.an_object)}" if held.an_object is not None else "")


def _described(value: Any) -> str:
    """Describe a value that is no tensor in a few words: its type and, where it is one number or text, itself."""
    kind = type_name(value)
    if isinstance(value, (str, bytes)):
        return f"{kind} {quoted(value[:SHOWN_CHARACTERS])}"
    if isinstance(value, (int, float, complex, np.generic)):
        return f"{kind} {backticked(cast('object', value))[1:-1]}"
    if isinstance(value, (Global, Opaque)):
        return f"object of class {backticked(value)}" if isinstance(value, Opaque) else backticked(value)
    return "None" if value is None else f"{kind} of {len(value):,}" if isinstance(value, Sized) else kind


def _listed(entries: Sequence[Entry]) -> str:
    """Return the first 8, then how many more."""
    shown = ", ".join(map(str, islice(entries, SHOWN_ITEMS)))
    more = len(entries) - SHOWN_ITEMS
    return f"{shown} and {more:,} more" if more > 0 else shown
