"""From a part of a checkpoint's tree to a flat state_dict: its tensors by dotted keys, and what stands beside them.

Knows how keys are made and bounded. The walk enters only what has tensors below it; everything that it passes by is
noted, with its key, for the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from hatch_wheelweights.checkpoint import Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.values import is_dict, type_name
from hatch_wheelweights.errors import TOP_LEVEL_KEY, CheckpointError, Do
from hatch_wheelweights.steps.objects import (
    carried,
    hidden_buffers,
    is_module,
    module_parameters,
    part_of_key,
    rest,
)
from hatch_wheelweights.steps.remap import MAX_KEY_CHARACTERS
from hatch_wheelweights.steps.select import is_optimizer_state
from hatch_wheelweights.steps.survey import MAX_DEPTH
from wheelweights.errors import backticked, quoted
from wheelweights.plain import is_collection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hatch_wheelweights.checkpoint import Account
    from hatch_wheelweights.steps.survey import Survey

__all__ = ["MAX_KEYS_PER_NAME", "Beside", "Flat", "flatten"]

MAX_TENSORS: Final = 1_000_000
MAX_KEYS_PER_NAME: Final = 16  # where dicts are shared, a name in the file stands for several keys
MAX_SHOWN_PLACE: Final = 200

# What the name of a tensor costs in all of the steps together, with its row in the report
STEPS_PER_NAME: Final = 6
STEPS_PER_PART: Final = 2
CHARACTERS_PER_STEP: Final = 64
BYTES_PER_NAME: Final = 400
BYTES_PER_PART: Final = 100
BYTES_PER_BESIDE: Final = 200
MIN_FILE: Final = 24  # bytes: less holds no tensor

# What a value is to what holds it: an item of a container, a part of a module that its state_dict should name, a buffer
# that it should not, anything else that an object or a tensor carries
Role: TypeAlias = Literal["item", "module", "buffer", "attribute"]


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside the tensors of a state_dict under a key of its own: no tensor, or none that has a name there.

    `packed` is set where it belongs to a module, or to a tensor, whose numbers are whole: those of a quantised layer,
    which mean nothing without their scales.
    """

    key: str
    value: Any
    role: Role = "item"
    packed: bool = False


@dataclass
class Flat:
    """The tensors of a part by their keys, what stands beside them, and the containers that were entered, by identity.

    `whole_model` says whether modules were among those, `optimizers` are the keys of those that are the state of one.
    """

    whole_model: bool
    optimizers: list[str] = field(default_factory=list[str])
    tensors: dict[str, LazyTensor] = field(default_factory=dict[str, LazyTensor])
    beside: list[Beside] = field(default_factory=list[Beside])
    entered: set[int] = field(default_factory=set[int])


def flatten(part: Survey, account: Account) -> Flat:
    """Return the tensors of the selected part under their dotted keys, in the checkpoint's order, and what is beside.

    `account` is charged for every name. Raises CheckpointError for two tensors of one key, and for a part beyond the
    limits.
    """
    if part.fault:
        raise part.fault
    most = min(MAX_TENSORS, max(10_000, MAX_KEYS_PER_NAME * part.named_tensors))
    if part[part.root].tensors > most:
        raise CheckpointError(f"expected at most {most:,} tensors, found {part[part.root].tensors:,}")
    flat = Flat(part.whole_model)
    places: dict[str, _Place] = {}
    for key, place, value in _Walk(part, flat, account).run():
        if key in flat.tensors:
            raise CheckpointError(
                f"two tensors have the key {backticked(key)}: {_shown_place(places[key])} and {_shown_place(place)}",
                remedy=Do("Rename one of them in torch, or set ", TOP_LEVEL_KEY, " to a part that holds one only."),
            )
        parts = key.count(".") + 1
        account.charge(STEPS_PER_NAME + STEPS_PER_PART * parts, BYTES_PER_NAME + BYTES_PER_PART * parts + 2 * len(key))
        flat.tensors[key], places[key] = value.named(key), place
    return flat


# A place is where a value stands: the place of its container, and its name there.
_Place: TypeAlias = tuple[Any, ...]


@dataclass(slots=True)
class _Frame:
    prefix: str
    place: _Place
    role: Role  # of the children
    children: Iterator[tuple[Any, Any]]


class _Walk:
    """One walk through a part, depth first and in order."""

    def __init__(self, part: Survey, flat: Flat, account: Account) -> None:
        self.part = part
        self.flat = flat
        self.account = account

    def run(self) -> Iterator[tuple[str, _Place, LazyTensor]]:
        """Yield key, place and value of each tensor; note what is beside them."""
        frames = [self.enter("", (), self.part.root)]
        while frames:
            frame = frames[-1]
            for name, value in frame.children:
                place = (frame.place, name)
                is_tensor = isinstance(value, LazyTensor)
                has_tensors = is_tensor or self.part[value].tensors > 0
                key = frame.prefix + _key_text(name, place, required=has_tensors)
                if len(frames) > MAX_DEPTH or len(key) > MAX_KEY_CHARACTERS:
                    raise _beyond_limits(key, len(frames))
                self.account.charge(1 + len(key) // CHARACTERS_PER_STEP)
                if is_tensor:
                    # One that cannot be read speaks for the parts that it is made of
                    if value.attributes is not None and value.fault is None:
                        self.note_all(f"{key}.", carried(value), "attribute", packed=_is_packed(value))
                    yield key, place, value
                elif has_tensors or self.is_new_module(value):
                    frames.append(self.enter(f"{key}.", place, value))
                    break
                elif not isinstance(name, LazyTensor) or _may_hold_tensors(value):  # else the key itself is told of
                    self.note(key, value, frame.role)
            else:
                frames.pop()

    def is_new_module(self, value: Any) -> bool:
        """Tell whether a value is a module without parameters whose attributes are not noted yet."""
        return self.part.whole_model and is_module(value) and id(value) not in self.flat.entered

    def enter(self, prefix: str, place: _Place, node: Any) -> _Frame:
        """Return the frame of a container, whatever it holds besides its children noted."""
        if isinstance(node, (set, frozenset)):
            raise CheckpointError(
                f"expected tensors in a dict, list or tuple, found a set of them at {backticked(prefix[:-1])}",
                remedy="Save them as a list: a set has no order to number them by.",
            )
        if is_optimizer_state(node):
            self.flat.optimizers.append(prefix.removesuffix("."))
        if id(node) not in self.flat.entered:  # what several keys lead to is told of once
            self.flat.entered.add(id(node))
            self.note_rest(prefix, node)
        return _Frame(prefix, place, "module" if is_module(node) else "item", iter(self.part.children(node) or ()))

    def note_rest(self, prefix: str, node: Any) -> None:
        """Note what a container holds besides its children: attributes, hidden buffers, keys that are no text."""
        if isinstance(node, Opaque):
            packed = is_module(node) and any(map(_is_packed, module_parameters(node)))
            self.note_all(prefix, rest(node), "attribute", packed=packed)
            self.note_all(prefix, hidden_buffers(node) if is_module(node) else (), "buffer")
        elif is_dict(node):
            self.note_all(prefix, carried(node), "attribute")
            self.note_all(prefix, ((key, key) for key in node if not isinstance(key, str)), "attribute")

    def note_all(self, prefix: str, values: Iterable[tuple[Any, Any]], role: Role, *, packed: bool = False) -> None:
        """Note values that may hold tensors."""
        for name, value in values:
            self.account.charge(1)
            if _may_hold_tensors(value):
                self.note(prefix + _shown_name(name), value, role, packed=packed)

    def note(self, key: str, value: Any, role: Role, *, packed: bool = False) -> None:
        """Note a value under its key."""
        self.account.charge(1, BYTES_PER_BESIDE + len(key))
        self.flat.beside.append(Beside(key, value, role, packed=packed))


def _may_hold_tensors(value: Any) -> bool:
    if isinstance(value, bytes):
        return len(value) >= MIN_FILE
    if is_dict(value) and carried(value):
        return True
    return isinstance(value, (LazyTensor, Opaque)) or bool(value and (is_dict(value) or is_collection(value)))


def _is_packed(tensor: Any) -> bool:
    """Tell whether the numbers of a parameter need others, such as scales, to mean anything."""
    return isinstance(tensor, LazyTensor) and (tensor.fault is not None or not tensor.dtype.startswith(_COMPLETE))


_COMPLETE: Final = ("float16", "float32", "float64", "bfloat16", "complex")


def _beyond_limits(key: str, depth: int) -> CheckpointError:
    if depth > MAX_DEPTH:
        return CheckpointError(f"the key {backticked(key)} is more than {MAX_DEPTH:,} levels deep")
    return CheckpointError(f"the key {backticked(key)} has more than {MAX_KEY_CHARACTERS:,} characters")


def _key_text(name: Any, place: _Place, *, required: bool) -> str:
    text = part_of_key(name)
    if text is not None:
        return text
    if required:
        raise CheckpointError(
            f"expected text or numbers as keys of tensors, found {backticked(_called(name))} at {_shown_place(place)}"
        )
    return _shown_name(name)


def _shown_name(name: Any) -> str:
    text = part_of_key(name)
    return f"<{_called(name)}>" if text is None else text


def _called(name: Any) -> str:
    """Return what a name that is no text is called."""
    if isinstance(name, (Global, Opaque)):
        return str(name)
    return "tensor" if isinstance(name, LazyTensor) else type_name(name)


def _shown_place(place: _Place) -> str:
    names: list[str] = []
    while place:
        place, name = place
        names.append(f"[{name}]" if isinstance(name, int) else f"[{quoted(_shown_name(name))}]")
    shown = "".join(reversed(names))
    return shown if len(shown) <= MAX_SHOWN_PLACE else f"{shown[:MAX_SHOWN_PLACE]}..."
