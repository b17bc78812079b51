"""Two trees side by side: what was read here, and what torch or Python made of the same file. Needs torch."""

from __future__ import annotations

import collections
import math
import struct
from typing import Any

import numpy as np
import torch

from hatch_wheelweights.checkpoint import Global, LazyTensor, Opaque
from hatch_wheelweights.checkpoint.values import Python2Text
from looking.unpicklers import Inert
from wheelweights.errors import WheelweightsError

MAX_COMPARED_BYTES = 1 << 22
MAX_COMPARED_NODES = 20_000


def fault_of(tensor: LazyTensor) -> str:
    """Return why a tensor cannot be read, or nothing."""
    if tensor.fault is None and tensor.nbytes > MAX_COMPARED_BYTES:
        return ""
    try:
        tensor.numpy()
    except WheelweightsError as error:
        return first_line(error)
    return ""


def first_line(error: WheelweightsError) -> str:
    line = str(error).partition("\n")[0]
    return line.removeprefix(f"{error.path}: ") or "refused"


class TooMuchError(Exception):
    """A tree or tensor that would take too long to compare."""


def _is_inert(value: Any) -> bool:
    return isinstance(value, (Global, Opaque))


class Comparison:
    """Walks two trees side by side; `refused` gathers why single values are refused here."""

    def __init__(self, python2: bool = False) -> None:
        self.python2 = python2
        self.refused: list[str] = []

    def of(self, here: Any, there: Any) -> str:
        """Return the first difference with its path, or nothing."""
        stack: list[tuple[Any, Any, str]] = [(here, there, "")]
        seen: set[tuple[int, int]] = set()
        while stack:
            ours, theirs, path = stack.pop()
            if (id(ours), id(theirs)) in seen:
                continue
            seen.add((id(ours), id(theirs)))
            if len(seen) > MAX_COMPARED_NODES:
                raise TooMuchError
            found = self._one(ours, theirs, path, stack)
            if found:
                return f"{path or 'the root'}: {found}"
        return ""

    def _one(self, ours: Any, theirs: Any, path: str, stack: list[tuple[Any, Any, str]]) -> str:
        if isinstance(theirs, (torch.Tensor, torch.UntypedStorage, torch.storage.TypedStorage, np.ndarray)):
            return self._tensor(ours, theirs)
        if isinstance(ours, LazyTensor):
            return self._no_tensor(ours, theirs)
        if _is_inert(ours):
            return self._inert(ours, theirs)
        if isinstance(theirs, Inert) or _is_inert_class(theirs):
            return f"{_said(ours)} here, an object of an unknown class there"
        if isinstance(theirs, dict):
            return self._dict(ours, theirs, path, stack)
        if isinstance(theirs, (list, tuple, collections.deque)):
            kind = tuple if isinstance(theirs, tuple) else list
            if not isinstance(ours, kind) or len(ours) != len(theirs):
                return f"{_said(ours)} here, {_said(theirs)} there"
            stack += [(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(ours, theirs, strict=True))]
            return ""
        if isinstance(theirs, (set, frozenset)):
            return self._set(ours, theirs)
        if self.python2 and isinstance(theirs, str) and isinstance(ours, (str, bytes)):
            return ""  # bytes that latin-1 made text
        return "" if _same_leaf(ours, theirs) else f"{_said(ours)} here, {_said(theirs)} there"

    def _inert(self, ours: Any, theirs: Any) -> str:
        """An inert node stands for any plain value."""
        if isinstance(theirs, torch.dtype) and isinstance(ours, Global) and str(ours) != str(theirs):
            return f"{ours} here, {theirs} there"
        return ""

    def _no_tensor(self, ours: LazyTensor, theirs: Any) -> str:
        if ours.fault is not None:
            self.refused.append(str(ours.fault))
            return ""
        return f"{ours!r} here, {_said(theirs)} there"

    def _dict(self, ours: Any, theirs: Any, path: str, stack: list[tuple[Any, Any, str]]) -> str:
        if not isinstance(ours, dict):
            return f"{_said(ours)} here, {_said(theirs)} there"
        pairs = list(dict.items(theirs))  # a hostile OrderedDict has other `items`
        if any(_is_inert(key) for key in ours):
            return ""  # keys are replaced by inert nodes, and may be more than they are there
        if len(pairs) != len(ours):
            return f"{len(ours)} keys here, {len(pairs)} there"
        for (key, value), (other, their_value) in zip(ours.items(), pairs, strict=True):
            stack.append((key, other, f"{path} key {key!r}"[-200:]))
            stack.append((value, their_value, f"{path}[{key!r}]"[-200:]))
        return ""

    def _set(self, ours: Any, theirs: Any) -> str:
        if type(ours) is not type(theirs):
            return f"{_said(ours)} here, {_said(theirs)} there"
        if self.python2 and len(ours) == len(theirs):
            return ""  # text that was read in two encodings has two orders
        mine, other = _plain_items(ours), _plain_items(theirs)
        if mine is None or other is None:
            return ""
        return "" if mine == other else f"{_said(ours)} here, {_said(theirs)} there"

    def _tensor(self, ours: Any, theirs: Any) -> str:
        if _is_inert(ours):
            self.refused.append(f"{ours} is inert")
            return ""
        if not isinstance(ours, LazyTensor):
            return f"{_said(ours)} here, a tensor there"
        fault = fault_of(ours)
        if fault:
            self.refused.append(fault)
            return ""
        if isinstance(theirs, np.ndarray):
            return _array_difference(ours, theirs)
        if isinstance(theirs, torch.Tensor):
            return _tensor_difference(ours, theirs)
        untyped = theirs if isinstance(theirs, torch.UntypedStorage) else theirs._untyped_storage
        raw = bytes(torch.empty(0, dtype=torch.uint8).set_(untyped).numpy())
        return _bytes_difference(ours, raw)


def _plain_items(items: Any) -> list[str] | None:
    """Return the items of a set as sorted text, or None where one is no plain value."""
    found: list[str] = []
    for item in items:
        if isinstance(item, tuple):
            inner = _plain_items(item)
            if inner is None:
                return None
            found.append(f"({inner})")
        elif isinstance(item, (str, bytes, int, float, type(None), np.generic)):
            found.append(repr(item))
        else:
            return None
    return sorted(found)


def _is_inert_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Inert)


def _said(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001
        text = f"({type(error).__name__})"
    return f"{type(value).__name__} {text[:80]}"


def _same_leaf(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, bytearray):
        return isinstance(ours, bytes) and ours == theirs
    if isinstance(ours, Python2Text):
        return isinstance(theirs, str) and str(ours) == theirs
    if type(ours) is not type(theirs):
        return isinstance(ours, str) and isinstance(theirs, str) and type(theirs).__name__ == "TorchVersion"
    if isinstance(theirs, float):
        return struct.pack("<d", ours) == struct.pack("<d", theirs) or (math.isnan(ours) and math.isnan(theirs))
    if isinstance(theirs, complex):
        return _same_leaf(ours.real, theirs.real) and _same_leaf(ours.imag, theirs.imag)
    if isinstance(theirs, np.generic):
        return bool(ours.dtype == theirs.dtype) and ours.tobytes() == theirs.tobytes()
    return bool(ours == theirs)


def _tensor_difference(ours: LazyTensor, theirs: Any) -> str:
    dtype = str(theirs.dtype).removeprefix("torch.")
    if theirs.layout is not torch.strided or theirs.is_quantized or theirs.is_nested or theirs.device.type != "cpu":
        return f"{ours!r} here, a {theirs.layout} {dtype} tensor on {theirs.device} there"
    if (ours.dtype, ours.shape) != (dtype, tuple(theirs.shape)):
        return f"{ours!r} here, {dtype} {tuple(theirs.shape)} there"
    if theirs.numel() * theirs.element_size() > MAX_COMPARED_BYTES:
        raise TooMuchError
    plain = theirs.detach().resolve_conj().resolve_neg()
    flat = torch.empty(plain.numel(), dtype=plain.dtype).copy_(plain.reshape(-1))
    raw = flat.view(torch.uint8).numpy()
    return _bytes_difference(ours, bytes(raw != 0) if dtype == "bool" else bytes(raw))


def _array_difference(ours: LazyTensor, theirs: Any) -> str:
    if (ours.dtype, ours.shape) != (theirs.dtype.name, theirs.shape):
        return f"{ours!r} here, {theirs.dtype} {theirs.shape} there"
    native = np.ascontiguousarray(theirs).astype(theirs.dtype.newbyteorder("<"))
    return _bytes_difference(ours, bytes(native.tobytes()))


def _bytes_difference(ours: LazyTensor, theirs: bytes) -> str:
    found = ours.numpy().tobytes()
    return "" if found == theirs else f"{ours!r} has {found[:32].hex()} here, {theirs[:32].hex()} there"
