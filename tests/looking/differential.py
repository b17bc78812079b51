"""One file, opened here and by torch: equal, refused, or a difference. Needs torch.

The law. For each file that `torch.load(weights_only=True)` opens, every value here equals torch's, bit for bit, or is
refused. Each malformed file that torch refuses is refused here. Not malformed is a file that torch refuses for what
its loader does not list, and for nothing else. Four refusals say so:

* a class or function: "Unsupported global", "unsupported GLOBAL ... is blocked", "must be imported to load";
* an opcode: "Unsupported operand" (torch knows those of protocol 2 only, while torch.save writes all protocols);
* a Python 2 string that is not UTF-8, which `torch.load(encoding=...)` opens;
* a container: TorchScript and the tar of torch 0.1 (never part of the comparison).

The words alone prove little, because torch stops at the first such place and the rest of the file may be malformed.
So that file is given to torch once more, with weights_only=False and Python's own unpickler, in which each name that
torch lists means what it means to torch, a name of plain values (`builtins.list`, numpy's scalars and arrays) what it
means to Python, and every other name a class that does nothing. If this opens it, the verdict is "refused by torch for
a name only", and the values must be equal all the same, with an inert node here for each such object. If it does not,
the file is malformed.

A second law is for pickles without tensors: equal to what Python's unpickler gives, restricted in the same way, or
refused. Names of Python 2 are mapped to those of Python 3 in every protocol, as torch does.

What counts as the same: a bytearray and bytes, a deque and a list (a record has neither); an inert node here and any
plain value there. What counts as refused: a tensor that has its `fault` set, an inert node where torch has a tensor.
"""

from __future__ import annotations

import io
import pickle
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from hatch_wheelweights import open_checkpoint
from hatch_wheelweights.checkpoint import LazyTensor, Opaque
from looking.comparison import MAX_COMPARED_NODES, Comparison, TooMuchError, fault_of, first_line
from looking.unpicklers import LENIENT, PlainUnpickler
from wheelweights.errors import WheelweightsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

EQUAL = "equal"
HERE = "refused here only"
THERE = "refused by torch only"
BOTH = "both refused"
NAMES = "refused by torch for a name only"
VALUES = "different values"
FOREIGN = "foreign exception"
SKIPPED = "not comparable"

DIFFERENCES = (THERE, VALUES, FOREIGN)  # what the law forbids


@dataclass(frozen=True)
class Verdict:
    """What became of one file: the verdict, and what each side said."""

    verdict: str
    here: str = ""
    there: str = ""

    @property
    def is_difference(self) -> bool:
        """Whether the law forbids it."""
        return self.verdict in DIFFERENCES


class Refused(Exception):  # noqa: N818
    """A refusal, by either side, in one line."""


# ------------------------------------------------------------------------------------- verdicts


def against_torch(data: bytes, path: Path) -> Verdict:
    """Compare with `torch.load(weights_only=True)`; the file is written to `path`."""
    here = opened_here(data, path)
    try:
        there = There(_torch_values(data))
    except Refused as refusal:
        return _torch_refuses(here, data, str(refusal))
    return _compared(here, there, "opens")


def against_python(data: bytes, pickled: bytes, path: Path) -> Verdict:
    """Compare a zip whose pickle has no tensors with Python's own unpickler."""
    here = opened_here(data, path)
    try:
        there = _in_either_encoding(lambda encoding: _python_values(pickled, encoding))
    except Refused as refusal:
        return _malformed(here, str(refusal))
    return _compared(here, there, "opens")


def _python_values(pickled: bytes, encoding: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return PlainUnpickler(io.BytesIO(pickled), encoding=encoding).load()
    except Exception as error:
        raise Refused(_line(error)) from error


def _torch_refuses(here: Opened, data: bytes, refusal: str) -> Verdict:
    if here.refusal or here.foreign or not _is_about_a_name(refusal):
        return _malformed(here, refusal)
    try:
        there = _in_either_encoding(lambda encoding: _torch_values(data, pickle_module=LENIENT, encoding=encoding))
    except Refused as error:
        return _malformed(here, f"{refusal} / with inert classes: {error}")
    found = _compared(here, there, refusal)
    return Verdict(NAMES, found.here, refusal) if found.verdict in (EQUAL, HERE) else found


def _malformed(here: Opened, refusal: str) -> Verdict:
    """Return the verdict on a file that torch refuses for what is wrong with it; a tensor's fault will do here."""
    if here.foreign:
        return Verdict(FOREIGN, here.said, refusal)
    refused = here.refusal or here.faults or "TorchScript archives" in refusal
    return Verdict(BOTH if refused else THERE, here.said, refusal)


def _is_about_a_name(refusal: str) -> bool:
    said = (
        "Unsupported global: GLOBAL", "is blocked", "must be imported to load", "Unsupported operand", "'utf-8' codec",
    )  # fmt: skip
    return any(words in refusal for words in said)


def _compared(here: Opened, there: There, said: str) -> Verdict:
    if here.foreign:
        return Verdict(FOREIGN, here.said, said)
    if here.refusal:
        return Verdict(HERE, here.said, said)
    comparison = Comparison(there.python2)
    try:
        difference = comparison.of(here.tree, there.tree)
    except TooMuchError:
        return Verdict(SKIPPED, here.said, "too much to compare")
    if difference:
        return Verdict(VALUES, difference, said)
    return Verdict(HERE, comparison.refused[0], said) if comparison.refused else Verdict(EQUAL)


# ------------------------------------------------------------------------------------- here


@dataclass(frozen=True)
class Opened:
    """What opening a file here gives: its tree, or why it is refused; and the faults of tensors that were read."""

    tree: Any = None
    refusal: str = ""
    foreign: bool = False
    faults: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """Why it is refused, or that it opens."""
        return self.refusal or (f"opens, but for {self.faults[0]}" if self.faults else "opens")


def opened_here(data: bytes, path: Path) -> Opened:
    """Open a file, and read every tensor in its tree."""
    path.unlink(missing_ok=True)  # truncating it instead takes ten times as long on ext4
    path.write_bytes(data)
    try:
        with open_checkpoint(path) as checkpoint:
            tree = checkpoint.tree
            return Opened(tree, faults=tuple(filter(None, map(fault_of, _tensors(tree)))))
    except WheelweightsError as error:
        return Opened(refusal=first_line(error))
    except MemoryError:
        return Opened(refusal="MemoryError")
    except Exception as error:  # noqa: BLE001
        return Opened(refusal=f"{type(error).__name__}: {error}", foreign=True)


def _tensors(tree: Any) -> Iterable[LazyTensor]:
    stack: list[Any] = [tree]
    seen: set[int] = set()
    while stack and len(seen) < MAX_COMPARED_NODES:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, LazyTensor):
            yield node
        elif isinstance(node, dict):
            stack += [*node, *node.values()]
        elif isinstance(node, (list, tuple, set, frozenset)):
            stack += node
        elif isinstance(node, Opaque):
            stack += [node.args, node.state, node.items]


# ------------------------------------------------------------------------------------- there


@dataclass(frozen=True)
class There:
    """What opening a file elsewhere gives; `python2` where its strings were read as latin-1."""

    tree: Any
    python2: bool = False


def _in_either_encoding(values: Callable[[str], Any]) -> There:
    """Return the values; strings of Python 2 are UTF-8, or else (torch.load(encoding=...)) bytes as latin-1."""
    try:
        return There(values("utf-8"))
    except Refused as refusal:
        if isinstance(refusal.__cause__, UnicodeDecodeError):
            return There(values("latin1"), python2=True)
        raise


def _torch_values(data: bytes, **options: Any) -> Any:
    torch._utils._sparse_tensors_to_validate.clear()  # a load that fails leaves them to the next one
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=not options, **options)
    except Exception as error:
        raise Refused(_line(error)) from error


def _line(error: BaseException) -> str:
    """Return an exception in one line, with the opcode and what it was applied to; torch's advice is left out."""
    text = str(error)
    reason = (text.partition("WeightsUnpickler error: ")[2] or text).partition(" Please use ")[0]
    return f"{_doing(error)}{type(error).__name__}: {reason.strip().split(chr(10))[0][:300]}"


def _doing(error: BaseException) -> str:
    """Return what an unpickler did when an exception was raised: what it called, made or gave a state."""
    inner = error.__context__ if isinstance(error.__context__, pickle.UnpicklingError) else error
    trace, doing = inner.__traceback__, ""
    while trace:
        frame = trace.tb_frame
        module = frame.f_globals.get("__name__", "")
        if module == "torch._weights_only_unpickler" and "key" in frame.f_locals:
            doing = _described(frame.f_locals["key"], frame.f_locals)
        elif module == "pickle" and frame.f_code.co_name.startswith("load_"):
            doing = _described(_CODES.get(frame.f_code.co_name, b""), frame.f_locals)
        trace = trace.tb_next
    return doing


_CODES = {"load_reduce": pickle.REDUCE, "load_newobj": pickle.NEWOBJ, "load_build": pickle.BUILD}


def _described(code: bytes, names: Mapping[str, Any]) -> str:
    if code == pickle.REDUCE:
        return f"calling {_called(names.get('func'))}: "
    if code == pickle.NEWOBJ:
        return f"making {_called(names.get('cls'))}: "
    if code == pickle.BUILD:
        return f"giving a state to a {type(names.get('inst')).__name__}: "
    return f"at opcode {code!r}: " if code else ""


def _called(value: Any) -> str:
    name = getattr(value, "__qualname__", None)
    return f"{getattr(value, '__module__', '')}.{name}" if name else f"a {type(value).__name__}"
