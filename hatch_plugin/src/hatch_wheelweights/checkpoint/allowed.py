"""The names a pickle may use: one table, and what happens to all other names.

A name is one of three things. If it is in `_MEANINGS` (or, for torch, in `rebuild.REBUILD`), calling it gives a plain
value or a tensor. If it is harmless, it becomes an inert `Global` or `Opaque`. If it belongs to the standard library
or to numpy and is neither, the file is refused as a whole: no checkpoint needs such a name, and attacks are made of
them. Nothing is imported or run in any of the three cases.
"""

from __future__ import annotations

import functools
import math
import re
import sys
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

import numpy as np

from hatch_wheelweights.checkpoint.nodes import MAX_NUMBER_TUPLES, Global, Opaque, cheap_key
from hatch_wheelweights.checkpoint.rebuild import REBUILD, SETSTATE
from hatch_wheelweights.checkpoint.tensors import Storage, contiguous_strides, strided_tensor
from hatch_wheelweights.checkpoint.values import are_ints, is_dict, is_list, is_tuple
from hatch_wheelweights.errors import CheckpointError, UnsafePickleError
from wheelweights.dtypes import dtype_name
from wheelweights.errors import DtypeError, backticked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hatch_wheelweights.checkpoint.nodes import Call

__all__ = ["find", "is_value"]

MAX_NESTED_NAMES: Final = 4


@functools.lru_cache(maxsize=4096)
def find(module: str, name: str) -> Global:
    """Return what a name in a pickle means; raise UnsafePickleError for one that no checkpoint needs."""
    module = _PYTHON_3_MODULES.get(module, module)
    key = (module, name)
    call = REBUILD.get(key) or _MEANINGS.get(key)
    if call is not None:
        return Global(module, name, call, SETSTATE.get(key) or _SETSTATE.get(key))
    if module == "torch.return_types" and _is_identifier(name):
        return Global(module, name, _return_type)
    top = module.partition(".")[0]
    if _is_inert(module, name) or (
        top not in _REFUSED_TOP and _is_identifier(module, dotted=True) and _is_identifier(name)
    ):
        return Global(module, name)
    raise UnsafePickleError(
        f"pickle asks for {backticked(f'{module}.{name}')}, which no state_dict needs",
        found=f"{module}.{name}",
        remedy="Nothing was run. Do not load this file with torch either; "
        "get the weights as .safetensors from someone you trust.",
    )


_PYTHON_3_MODULES: Final = {"__builtin__": "builtins", "copy_reg": "copyreg", "exceptions": "builtins"}

# The standard library of any Python: that of this one, and what older ones had besides.
_REFUSED_TOP: Final = sys.stdlib_module_names | {
    "asynchat", "asyncore", "cgi", "commands", "crypt", "dircache", "distutils", "dl", "imp", "nt", "numpy", "pip",
    "pipes", "pkg_resources", "popen2", "posixfile", "setuptools", "smtpd", "telnetlib", "thread", "urllib2", "_winreg",
}  # fmt: skip

_INERT: Final = {
    ("argparse", "Namespace"), ("types", "SimpleNamespace"), ("functools", "partial"), ("decimal", "Decimal"),
    ("fractions", "Fraction"), ("uuid", "UUID"), ("time", "struct_time"), ("itertools", "count"), ("enum", "Enum"),
    ("enum", "IntEnum"), ("abc", "ABCMeta"),
    ("re", "_compile"), ("types", "GenericAlias"), ("array", "array"), ("array", "_array_reconstructor"),
    ("logging", "Logger"), ("logging", "getLogger"), ("io", "BytesIO"), ("_io", "BytesIO"), ("random", "Random"),
    ("zoneinfo", "ZoneInfo"),
    *(("datetime", name) for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(("ipaddress", name) for name in ("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network")),
    *(("collections", name) for name in ("ChainMap", "UserDict", "UserList")),
    *(("builtins", name) for name in (
        "bool", "bytes", "bytearray", "complex", "dict", "float", "frozenset", "int", "list", "long", "object", "range",
        "set", "slice", "str", "tuple", "unicode", "xrange", "Ellipsis", "NoneType", "NotImplemented",
    )),
    *(("numpy", name) for name in (
        "bool", "bool_", "bytes_", "character", "complex128", "complex64", "complexfloating", "float16", "float32",
        "float64", "floating", "generic", "inexact", "int16", "int32", "int64", "int8", "integer", "longlong", "matrix",
        "memmap", "ndarray", "number", "object_", "signedinteger", "str_", "uint16", "uint32", "uint64", "uint8",
        "ulonglong", "unsignedinteger", "void", "datetime64", "timedelta64", "recarray", "record",
    )),
}  # fmt: skip
# Modules of the standard library and of numpy whose classes hold nothing but values.
_INERT_MODULES: Final = re.compile(
    r"pathlib(\._local)?|typing|numpy\.dtypes|numpy\.ma(\.core)?"
    r"|numpy\.random(\.(mtrand|_pickle|_mt19937|_pcg64|_philox|_sfc64|bit_generator|_generator))?"
)


def _is_inert(module: str, name: str) -> bool:
    return (module, name) in _INERT or (_INERT_MODULES.fullmatch(module) is not None and _is_identifier(name))


def _is_identifier(name: str, *, dotted: bool = False) -> bool:
    """Tell whether this can be the name of a module or class; a class with a dotted name would lead elsewhere."""
    return all(part.isidentifier() for part in name.split(".")) if dotted else name.isidentifier()


_VALUE_MODULES: Final = re.compile(
    r"datetime|decimal|fractions|ipaddress|pathlib(\._local)?|uuid|builtins"
    r"|numpy(\.(core|_core)\.(multiarray|numeric)|\.dtypes)?"
)
_TORCH_VALUES: Final = {("torch", "device"), ("torch.serialization", "_get_layout")}


def is_value(node: Global | Opaque) -> bool:
    """Tell whether an inert node is a plain value (a dtype, a device, a date, a path) and not an unknown object."""
    if _VALUE_MODULES.fullmatch(node.module) or (node.module, node.name) in _TORCH_VALUES:
        return True
    # torch.float32, torch.strided
    return isinstance(node, Global) and node.module == "torch" and node.name[:1].islower()


# Python's own containers


def _return_type(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the named tuple of a function of torch (`torch.return_types.max`) as a tuple."""
    return tuple(_items(args[:1]))


def _torch_version(args: tuple[Any, ...]) -> str:
    if len(args) != 1 or not isinstance(args[0], str):
        raise TypeError("a version is not made of text")
    return args[0]


def _items(args: tuple[Any, ...]) -> list[Any]:
    if not args:
        return []
    items = args[0] if len(args) == 1 else None
    if not isinstance(items, (list, tuple, set, frozenset)):
        raise TypeError("a container is made from something that is not a list")
    return list(cast("Iterable[Any]", items))


def _dict(args: tuple[Any, ...]) -> dict[Any, Any]:
    if len(args) == 1 and is_dict(args[0]):
        return dict(args[0])
    pairs = _items(args)
    if not all(is_tuple(pair, 2) or (is_list(pair) and len(pair) == 2) for pair in pairs):
        raise TypeError("a dict is made from something that is not pairs of a key and a value")
    return {cheap_key(key, numbers=len(pairs) <= MAX_NUMBER_TUPLES): value for key, value in pairs}


def _set(args: tuple[Any, ...]) -> set[Any]:
    items = _items(args)
    return {cheap_key(item, numbers=len(items) <= MAX_NUMBER_TUPLES) for item in items}


def _deque(args: tuple[Any, ...]) -> list[Any]:
    return _items(args[:1])  # the second argument is its maximal length


def _encode(args: tuple[Any, ...]) -> bytes:
    """Return the bytes that protocol 2 writes as text in latin-1."""
    text, encoding = args
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8"):
        raise TypeError("bytes are written in an unknown way")
    return text.encode(encoding)


def _bytes(args: tuple[Any, ...]) -> bytes:
    if not args:
        return b""
    if isinstance(args[0], bytes):
        return args[0]
    if is_list(args[0]):  # how protocols 0 to 2 of Python 3 write a bytearray
        return bytes(args[0])
    return _encode(args)


def _complex(args: tuple[Any, ...]) -> complex:
    real, imaginary = args
    if type(real) is not float or type(imaginary) is not float:
        raise TypeError("a complex number is not made of two floats")
    return complex(real, imaginary)


def _reconstructor(args: tuple[Any, ...]) -> Opaque:
    """Return the object that protocols 0 and 1 write as (class, base, value of the base)."""
    if not isinstance(args[0], Global):
        raise TypeError("an object has no class")
    return Opaque(args[0].module, args[0].name, args[2:] if len(args) > 2 and args[2] is not None else ())


def _getattr(args: tuple[Any, ...]) -> Global | Opaque:
    """Return, inert, what is written as getattr(owner, name): a nested class, an enum member, a bound method.

    Protocols below 4 have no other way to write these. Allowed only for classes and objects of other packages, and for
    torch's classes.
    """
    owner, name = args
    if isinstance(owner, (Global, Opaque)) and isinstance(name, str) and _is_identifier(name):
        top, last = owner.module.partition(".")[0], owner.name.rpartition(".")[2]
        own = top not in _REFUSED_TOP and (top != "torch" or last.lstrip("_")[:1].isupper())
        if own and not name.startswith("__") and owner.name.count(".") < MAX_NESTED_NAMES:
            is_class = isinstance(owner, Global)
            return Global(owner.module, f"{owner.name}.{name}") if is_class else Opaque("builtins", "getattr", args)
    raise UnsafePickleError(
        "pickle asks for `builtins.getattr`, which no state_dict needs",
        remedy="Nothing was run. Do not load this file with torch either.",
    )


# numpy

_NUMPY_TYPE = re.compile(
    r"[<>|=]?([?biu]\d?|f[248]|c(8|16)|[SU]\d{1,4}|[mM]8)|bool|u?int(8|16|32|64)|float(16|32|64)|complex(64|128)"
)


def _is_dtype(value: Any) -> TypeGuard[np.dtype[Any]]:
    return isinstance(value, np.dtype)


def _numpy_dtype(args: tuple[Any, ...]) -> Any:
    code = args[0].decode("ascii") if isinstance(args[0], bytes) else args[0]
    return Opaque("numpy", "dtype", (code, *args[1:]))


def _numpy_dtype_state(node: Opaque, state: Any) -> Any:
    """Return numpy's dtype with the byte order that the state gives; an unusual one stays a node."""
    node.state = state
    code = node.args[0]
    if not isinstance(code, str) or not _NUMPY_TYPE.fullmatch(code) or not is_tuple(state) or len(state) < 2:
        return node
    order: Any = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
    try:
        dtype = np.dtype(code)
    except TypeError:
        return node
    return dtype.newbyteorder(order) if order in ("<", ">") else dtype


def _numpy_scalar(args: tuple[Any, ...]) -> Any:
    dtype, raw = args if len(args) == 2 else (args[0], None)
    raw = raw.encode("utf-8") if isinstance(raw, str) else raw
    if not _is_dtype(dtype) or not isinstance(raw, bytes) or len(raw) != dtype.itemsize or dtype.itemsize == 0:
        return Opaque("numpy.core.multiarray", "scalar", args)
    return np.frombuffer(raw, dtype)[0]


def _numpy_reconstruct(args: tuple[Any, ...]) -> Opaque:
    owner = args[0] if args and isinstance(args[0], Global) else Global("numpy", "ndarray")
    return Opaque("numpy.core.multiarray", "_reconstruct", (owner, *args[1:]))


def _numpy_array_state(node: Opaque, state: Any) -> Any:
    """Return an array as a tensor in memory; one of objects, text or dates stays a node."""
    node.state = state
    if not is_tuple(state, 5):
        return node
    _, shape, dtype, fortran, raw = state
    return _array(node, raw, dtype, shape, fortran is True or fortran == 1)


def _numpy_from_buffer(args: tuple[Any, ...]) -> Any:
    raw, dtype, shape, order = args
    return _array(Opaque("numpy.core.numeric", "_frombuffer", args), raw, dtype, shape, order == "F")


def _array(node: Opaque, raw: Any, dtype: Any, shape: Any, fortran: bool) -> Any:
    raw = raw.encode("utf-8") if isinstance(raw, str) else raw  # Python 2 wrote bytes as str
    if not _is_dtype(dtype) or not isinstance(raw, bytes) or not is_tuple(shape):
        return node
    try:
        name = dtype_name(dtype)
    except DtypeError:
        return node
    if not are_ints(shape) or any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != len(raw):
        raise CheckpointError(f"a numpy array of shape {shape} has {len(raw):,} bytes")
    big_endian = dtype.byteorder == ">"
    storage = Storage(len(raw), lambda: np.frombuffer(raw, np.uint8), big_endian)
    return strided_tensor(storage, name, 0, shape, contiguous_strides(shape, fortran=fortran))


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")

_MEANINGS: Final[dict[tuple[str, str], Call]] = {
    ("collections", "OrderedDict"): _dict,
    ("collections", "defaultdict"): lambda args: _dict(args[1:]),  # the first argument makes new values
    ("collections", "Counter"): _dict,
    ("collections", "deque"): _deque,
    ("builtins", "dict"): _dict,
    ("builtins", "list"): _items,
    ("builtins", "tuple"): lambda args: tuple(_items(args)),
    ("builtins", "set"): _set,
    ("builtins", "frozenset"): lambda args: frozenset(_set(args)),
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytes,
    ("builtins", "complex"): _complex,
    ("builtins", "getattr"): _getattr,
    ("_codecs", "encode"): _encode,
    ("copyreg", "_reconstructor"): _reconstructor,
    ("torch.torch_version", "TorchVersion"): _torch_version,
    ("numpy", "dtype"): _numpy_dtype,
    **{(module, "scalar"): _numpy_scalar for module in _MULTIARRAY},
    **{(module, "_reconstruct"): _numpy_reconstruct for module in _MULTIARRAY},
    **{(module, "_frombuffer"): _numpy_from_buffer for module in _NUMERIC},
}
_SETSTATE: Final = {
    ("numpy", "dtype"): _numpy_dtype_state,
    **{(module, "_reconstruct"): _numpy_array_state for module in _MULTIARRAY},
}
