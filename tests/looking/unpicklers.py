"""Unpicklers that know which names a file may use, and let all others be inert: what the readers are compared with.

Both are Python's own, in pure Python. `PlainUnpickler` knows names of plain values (containers of the standard
library, numpy's scalars and arrays), `LENIENT` those that torch lists besides: it is a module as `torch.load` takes it
for `pickle_module`. Needs torch.
"""

from __future__ import annotations

import codecs
import collections
import functools
import pickle
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable


class Inert:
    """An object of a class that is not there: takes anything, does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None: ...
    def __setstate__(self, _: Any) -> None: ...
    def append(self, _: Any) -> None: ...
    def extend(self, _: Any) -> None: ...
    def add(self, _: Any) -> None: ...
    def __setitem__(self, _: Any, __: Any) -> None: ...


def _reconstructor(cls: Any, *_: Any) -> Any:
    if not isinstance(cls, type):
        raise TypeError("an object has no class")
    return Inert()


def _getattr(owner: Any, name: str) -> Any:
    if isinstance(owner, type) and issubclass(owner, Inert) and isinstance(name, str):
        return type(name, (Inert,), {})
    if isinstance(owner, Inert) and isinstance(name, str):
        return Inert()
    raise pickle.UnpicklingError("getattr of something that is there")


def _from_buffer(*args: Any) -> Any:
    return np._core.numeric._frombuffer(*args)  # type: ignore[attr-defined]


def _plain_names() -> dict[str, Any]:
    """Return the names that give plain values; functions anew each time, because BUILD can give them attributes."""
    multiarray: Any = np._core.multiarray  # type: ignore[attr-defined]
    own = {
        **{f"collections.{cls.__name__}": cls for cls in (
            collections.OrderedDict, collections.Counter, collections.deque, collections.defaultdict,
        )},
        **{f"builtins.{cls.__name__}": cls for cls in (set, frozenset, list, dict, tuple, bytes, bytearray, complex)},
        "_codecs.encode": codecs.encode,
        "copyreg._reconstructor": functools.partial(_reconstructor),
        "builtins.getattr": functools.partial(_getattr),
        "numpy.dtype": _or_inert(np.dtype),
        "numpy.ndarray": np.ndarray,
    }  # fmt: skip
    for package in ("numpy.core", "numpy._core"):
        own[f"{package}.multiarray.scalar"] = _or_inert(multiarray.scalar)
        own[f"{package}.multiarray._reconstruct"] = _or_inert(multiarray._reconstruct)
        own[f"{package}.numeric._frombuffer"] = _or_inert(_from_buffer)
    return own


def _or_inert(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of numpy that gives an inert object where numpy refuses: torch lists none of them."""

    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except Exception:  # noqa: BLE001 (whatever numpy raises)
            return Inert()

    return call


_PYTHON: Any = getattr(pickle, "_Unpickler")  # noqa: B009 (typeshed has less of it)


class PlainUnpickler(_PYTHON):
    """Python's own unpickler, in which a name that does not give plain values is an inert class."""

    dispatch: ClassVar[dict[int, Any]] = dict(_PYTHON.dispatch)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._file = args[0]
        self._known = self.names()
        self._inert: dict[tuple[str, str], type] = {}

    def names(self) -> dict[str, Any]:
        """Return what names mean."""
        return _plain_names()

    def find_class(self, module: str, name: str) -> Any:
        """Return what a name means; as torch does, map those of Python 2 in every protocol."""
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        if full in self._known:
            return self._known[full]
        return self._inert.setdefault((module, name), type(name or "Nameless", (Inert,), {}))

    def load_build(self) -> None:
        """Give a state to an object; never to a class or function, which outlives this pickle."""
        target = self.stack[-2]
        if callable(target):
            raise pickle.UnpicklingError("a class or function is given a state")
        try:
            super().load_build()
        except Exception:
            if not isinstance(target, (np.dtype, np.ndarray)):
                raise
            self.stack[-1] = Inert()

    dispatch[pickle.BUILD[0]] = load_build

    def load_reduce(self) -> None:
        """Call; numpy's array is a class whose call may fail like any of numpy's functions."""
        try:
            super().load_reduce()
        except Exception:
            if self.stack[-1] is not np.ndarray:
                raise
            self.stack[-1] = Inert()

    dispatch[pickle.REDUCE[0]] = load_reduce

    def load_frame(self) -> None:
        """Check that a frame is there, as `pickle.Unpickler` does; it lets opcodes go past its end."""
        (size,) = struct.unpack("<Q", self.read(8))
        file = self._file
        at = file.tell()
        if size > len(file.getbuffer()) - at:
            raise pickle.UnpicklingError("a frame is cut short")

    dispatch[pickle.FRAME[0]] = load_frame


class _TorchUnpickler(PlainUnpickler):
    """The same with the names that torch lists, which mean what they mean to torch."""

    def names(self) -> dict[str, Any]:
        listed: Callable[[], dict[str, Any]] = torch._weights_only_unpickler._get_allowed_globals
        return _plain_names() | listed()

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch.tensor":  # as torch.load itself does
            module = "torch._tensor"
        return super().find_class(module, name)


LENIENT: Any = ModuleType("lenient")
LENIENT.Unpickler = _TorchUnpickler
LENIENT.load = lambda file, **options: _TorchUnpickler(file, **options).load()
