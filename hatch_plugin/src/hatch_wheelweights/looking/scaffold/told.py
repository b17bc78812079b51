"""What the file says of a class beside its tensors: its settings, and modules in it that have no tensors."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.looking.scaffold.names import comment_text
from wheelweights.names import is_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from hatch_wheelweights.checkpoint.module_classes import ModuleClass
    from hatch_wheelweights.looking.scaffold.kinds import Class
    from hatch_wheelweights.looking.scaffold.modules import Module

__all__ = ["items_told", "settings_told", "silent_told"]

SETTINGS_SHOWN: Final = 12
MODULES_SHOWN: Final = 24
SETTINGS_OF_SILENT: Final = 3
MAX_SETTING: Final = 40  # characters
_OF_NO_USE: Final = {"training", "inplace"}


def settings_told(cls: Class) -> Iterator[str]:
    """Yield what the file says of the settings of a class: those that are the same in all instances."""
    said = [module.known.settings for module in cls.instances if module.known is not None]
    if not cls.origin or not said:
        return
    first = {name: value for name, value in _useful(said[0]).items() if name not in cls.fields}
    same = {name: value for name, value in first.items() if all(one.get(name) == value for one in said)}
    if same:
        yield f"Settings in the file: {_list(_assigned(same), SETTINGS_SHOWN)}"
    if differing := [name for name in first if name not in same]:
        names = _list((comment_text(name, MAX_SETTING) for name in differing), SETTINGS_SHOWN)
        yield f"Settings that differ: {names}"


def silent_told(module: Module) -> Iterator[str]:
    """Yield what the file says of the modules in a module that have no tensors."""
    if module.silent:
        shown = (f"{comment_text(name, MAX_SETTING)} = {_silent(its)}" for name, its in module.silent.items())
        yield f"Without tensors: {_list(shown, MODULES_SHOWN)}"


def items_told(name: str, module: Module) -> Iterator[str]:
    """Yield what the items of a list are in the file, where some have no tensors: their classes in their order."""
    if not module.silent:
        return
    items = {_last(part): "?" if part.known is None else _class(part.known) for part in module.modules.values()}
    items |= {place: _silent(its) for place, its in module.silent.items()}
    in_order = sorted(items, key=lambda place: int(place) if is_number(place) else 0)
    yield f"{name} in the file: {_list((items[place] for place in in_order), MODULES_SHOWN)}"


def _class(its: ModuleClass) -> str:
    return comment_text(its.name.rpartition(".")[2], MAX_SETTING)


def _last(module: Module) -> str:
    return (module.source or module.name).rpartition(".")[2]


def _silent(its: ModuleClass) -> str:
    """Return the name of a class with its first settings, which are mostly those that are given."""
    settings = [*islice(_assigned(_useful(its.settings)), SETTINGS_OF_SILENT)]
    return f"{_class(its)}({', '.join(settings)})" if settings else _class(its)


def _useful(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in _OF_NO_USE and not name.startswith("_")}


def _assigned(settings: Mapping[str, Any]) -> Iterator[str]:
    return (comment_text(f"{name}={value!r}", MAX_SETTING) for name, value in settings.items())


def _list(texts: Iterable[str], shown: int) -> str:
    """Return the first texts, and how many follow."""
    every = [*texts]
    more = f" and {len(every) - shown:,} more" if len(every) > shown else ""
    return ", ".join(every[:shown]) + more
