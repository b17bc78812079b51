"""The classes of a checkpoint's modules and their settings, where the file says them.

Knows what counts as a setting: a plain value that fits on a line. Knows nothing of the containers that say it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from hatch_wheelweights.checkpoint.cost import Account
from hatch_wheelweights.checkpoint.nodes import Global, Opaque
from hatch_wheelweights.checkpoint.values import is_list, is_tuple

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_SETTINGS", "ModuleClass", "ModuleClasses", "Name", "no_classes", "settings_of"]

MAX_SETTINGS: Final = 64  # of a module
MAX_NAME: Final = 100  # characters of an attribute
MAX_TEXT: Final = 200  # characters of a value
MAX_VALUES: Final = 64  # in a tuple, with the tuples in it and their values
PARTS_PER_STEP: Final = 8
BYTES_PER_VALUE: Final = 100
_INTEGERS: Final = range(-(1 << 63), 1 << 64)


class Name(str):
    """The name of what a setting refers to: a dtype, a function, a class, or an object by its class; without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True, slots=True)
class ModuleClass:
    """The class of a module and its settings, as far as the file says them.

    `name` is qualified, as the file has it: "torch.nn.modules.conv.Conv2d". `settings` are plain values by attribute,
    in the file's order: None, a bool, int, float or str, a `Name`, or a tuple of such values (lists and `torch.Size`
    included), such as {"stride": (2, 2), "padding": (3, 3), "groups": 1}. Floats may be infinite or NaN.
    """

    name: str
    settings: Mapping[str, Any]


# By key of the module; all work on them is charged to the account
ModuleClasses: TypeAlias = Callable[[Account], Mapping[str, ModuleClass]]


def no_classes(_: Account) -> Mapping[str, ModuleClass]:
    """Return the classes of a file that says none."""
    return {}


def settings_of(attributes: Iterable[tuple[Any, Any]], account: Account) -> dict[str, Any]:
    """Return the attributes of a module that are settings: plain values under public names.

    What is longer than fits on a line is no setting, and is left out whole; so is what follows `MAX_SETTINGS` of them.
    """
    settings: dict[str, Any] = {}
    for name, value in attributes:
        parts = _parts(value) if _is_public(name) else 0
        account.charge(1 + parts // PARTS_PER_STEP)
        if 0 < parts <= MAX_VALUES:
            plain = _plain(value)
            if plain is not _NO_SETTING:
                settings[name] = plain
                account.charge(1, parts * BYTES_PER_VALUE)
        if len(settings) == MAX_SETTINGS:
            break
    return settings


def _is_public(name: Any) -> bool:
    return isinstance(name, str) and name != "training" and not name.startswith("_") and _fits(name, MAX_NAME)


def _fits(text: str, most: int) -> bool:
    return len(text) <= most and text.isprintable()


def _parts(value: Any) -> int:
    """Return how many values there are in a value, itself included; of more than `MAX_VALUES`, no more are counted."""
    parts, pending = 1, [value]
    while pending and parts <= MAX_VALUES:
        part = pending.pop()
        if is_tuple(part) or is_list(part):
            parts += len(part)
            pending.extend(part if parts <= MAX_VALUES else ())
    return parts


_NO_SETTING: Final = object()


def _plain(value: Any) -> Any:
    """Return a short value as a setting has it, or `_NO_SETTING`; an object is one only by itself, not in a tuple."""
    if isinstance(value, Opaque):
        return _NO_SETTING if value.closed else _named(value)
    if is_tuple(value) or is_list(value):
        items = tuple(_NO_SETTING if isinstance(item, Opaque) else _plain(item) for item in value)
        return _NO_SETTING if any(item is _NO_SETTING for item in items) else items
    if isinstance(value, Global):
        return _named(value)
    if isinstance(value, str):
        return str(value) if _fits(value, MAX_TEXT) else _NO_SETTING
    if type(value) is int:
        return value if value in _INTEGERS else _NO_SETTING
    return value if value is None or type(value) in (bool, float) else _NO_SETTING


def _named(node: Global | Opaque) -> Any:
    name = str(node)
    return Name(name) if _fits(name, MAX_TEXT) else _NO_SETTING
