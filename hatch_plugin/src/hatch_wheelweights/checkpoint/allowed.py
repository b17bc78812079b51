"""The names a pickle may use: one table, and what happens to all other names.

A name of Python 2 is read as what Python 3 calls it (`_abcoll.Mapping` is `collections.abc.Mapping`), and the rules are
those for the Python 3 name. Modules in `OLD_OR_COMMON` keep their names: people have modules of their own called so.

A name is one of five things, and nothing is imported or run for any of them.

1. In `_MEANINGS`: calling it gives a plain value or a tensor.
2. In `_INERT` or `_INERT_MODULES`: a class of the standard library or of numpy that holds what it is given, and does
   nothing when an object of it is made, loaded or thrown away (`datetime.date`, `io.StringIO`, `inspect.Signature`,
   `contextlib.nullcontext`, an exception); the list is reviewed by hand, and has nothing on it that opens, runs or
   imports. The name is an inert `Global`, its objects are inert `Opaque`s.
3. To be named only: a function or class of the standard library or of numpy that computes on what it is given, and can
   neither run text or bytes as code, nor import, nor reach files, processes or the network. Settings name such
   functions (`numpy.mean`, `operator.add`, `random.random`), so the name alone is an inert `Global`; a pickle that
   calls it, makes an object of it, gives it a state or hands it to something that could call it is refused. The line
   is drawn by `named_only.is_named_only`: the public names of a list of modules, and a list of builtins. Few may be
   called with arguments that are known to be harmless: `type(None)`, and `operator.getitem` of a name of `typing`, as
   `Optional[int]` is written.
4. Any other of the standard library (of any Python), of numpy or of a tool that runs code, or a function of a module of
   torch that runs commands or loads code, that is not known to be harmless: the file is refused as a whole, even where
   the pickle does no more than name it. No checkpoint needs such a name, and attacks are made of them.
5. Everything else: an inert `Global`, and an inert `Opaque` where it is called.

What rebuilds code for cloudpickle is refused with a reason of its own, for its files are honest and carry code.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final, NoReturn

from hatch_wheelweights.checkpoint.arrays import ARRAYS
from hatch_wheelweights.checkpoint.containers import CONTAINERS
from hatch_wheelweights.checkpoint.dtypes import STORAGES
from hatch_wheelweights.checkpoint.named_only import is_named_only
from hatch_wheelweights.checkpoint.nodes import Global, Meaning, Opaque, Uncalled, unsafe
from hatch_wheelweights.checkpoint.rebuild import REBUILD
from hatch_wheelweights.checkpoint.stdlib_names import (
    EXCEPTIONS,
    OLD_OR_COMMON,
    PYTHON_3_MODULES,
    PYTHON_3_NAMES,
    STANDARD_LIBRARY,
)
from hatch_wheelweights.checkpoint.torch_values import TORCH_VALUES, never_called
from hatch_wheelweights.checkpoint.values import is_list, is_tuple
from hatch_wheelweights.errors import UnsafePickleError

__all__ = ["find", "is_value"]

MAX_NESTED_NAMES: Final = 4


@functools.lru_cache(maxsize=4096)
def find(module: str, name: str) -> Global:
    """Return what a name in a pickle means; raise UnsafePickleError for one that no checkpoint needs."""
    written = f"{module}.{name}"
    module, name = PYTHON_3_NAMES.get((module, name), (PYTHON_3_MODULES.get(module, module), name))
    key = (module, name)
    meaning = _MEANINGS.get(key)
    if meaning is not None:
        return Global(module, name, *meaning)
    if name in STORAGES:
        return Global(module, name, never_called)  # to torch, a storage wherever it is; here, only where torch has it
    if module == "torch.return_types" and _is_identifier(name):
        return Global(module, name, _return_type, _return_type)
    if _is_inert(module, name):
        return Global(module, name)
    if is_named_only(module, name):
        uncalled = Uncalled(module, name)
        return Global(module, name, uncalled, uncalled)
    if _is_refused(module, name):
        raise unsafe(written, "asks for")
    return Global(module, name)


_REFUSED_TOP: Final = STANDARD_LIBRARY | {
    "IPython", "_distutils_hack", "easy_install", "numpy", "pexpect", "pip", "pkg_resources", "ptyprocess",
    "setuptools",
}  # fmt: skip

# Modules of torch that run commands, load code or open files: a checkpoint may name their classes, but no function
_RUNNING: Final = re.compile(
    r"torch\.(_appdirs|_classes|_dynamo|_export|_inductor|_lazy|_ops|_strobelight|_utils_internal|bin|hub|library"
    r"|multiprocessing|onnx|package|testing|distributed\.(elastic|launch|launcher|rpc|run)|jit\.(frontend|unsupported_tensor_ops)"
    r"|utils\.(_cpp_\w+|_triton|backcompat|benchmark|bottleneck|bundled_inputs|collect_env|cpp_\w+|debug_log|file_baton"
    r"|hipify|jit|mobile_optimizer|model_dump|model_zoo|show_pickle|tensorboard|throughput_benchmark|viz))(\..*)?"
)
_LOADING: Final = {
    ("torch", "compile"), ("torch", "load"), ("torch", "save"), ("torch.jit", "load"), ("torch.jit", "save"),
    ("torch.ops", "load_library"), ("torch.classes", "load_library"), ("torch.serialization", "load"),
    ("torch.serialization", "save"), ("torch.storage", "_load_from_bytes"), ("torch._utils", "_import_dotted_name"),
}  # fmt: skip


def _is_refused(module: str, name: str) -> bool:
    """Tell whether no checkpoint needs a name that is not known."""
    if not (_is_identifier(module, dotted=True) and _is_identifier(name, dotted=True)):
        return True
    top = module.partition(".")[0]
    owner, *nested = name.split(".")
    is_function = not owner.lstrip("_")[:1].isupper()
    is_running = _RUNNING.fullmatch(module) is not None
    # A class in a class: what else a name leads to by dots could be another module's
    if nested and (is_function or is_running or len(nested) > MAX_NESTED_NAMES or any(map(_is_private, nested))):
        return True
    if top in _REFUSED_TOP or (module, name) in _LOADING:
        return True
    return is_function and (top in OLD_OR_COMMON or is_running)


def _is_private(name: str) -> bool:
    return name.startswith("__")


_INERT: Final = {
    ("argparse", "Namespace"), ("types", "SimpleNamespace"), ("functools", "partial"), ("decimal", "Decimal"),
    ("fractions", "Fraction"), ("uuid", "UUID"), ("time", "struct_time"), ("itertools", "count"), ("enum", "Enum"),
    ("enum", "IntEnum"), ("abc", "ABCMeta"),
    ("re", "_compile"), ("types", "GenericAlias"), ("array", "array"), ("array", "_array_reconstructor"),
    ("logging", "Logger"), ("logging", "getLogger"), ("io", "BytesIO"), ("_io", "BytesIO"), ("random", "Random"),
    ("zoneinfo", "ZoneInfo"), ("io", "StringIO"), ("_io", "StringIO"), ("contextlib", "nullcontext"),
    *(("inspect", name) for name in ("Signature", "Parameter", "_ParameterKind", "_empty")),
    *(("builtins", name) for name in EXCEPTIONS),
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
    """Tell whether this can be the name of a module or class."""
    return all(part.isidentifier() for part in name.split(".")) if dotted else name.isidentifier()


_VALUE_MODULES: Final = re.compile(
    r"datetime|decimal|fractions|ipaddress|pathlib(\._local)?|uuid|builtins"
    r"|numpy(\.(core|_core)\.(multiarray|numeric)|\.dtypes)?"
)
_TORCH_VALUES: Final = {("torch", "device"), ("torch.serialization", "_get_layout")}


def is_value(node: Global | Opaque) -> bool:
    """Tell whether an inert node is a plain value (a dtype, a device, a date, a path) and not an unknown object.

    A function that may only be named is none: what names it needs it. Nor is an exception, which holds anything.
    """
    if isinstance(node, Global) and node.named_only:
        return False
    if node.module == "builtins" and node.name in EXCEPTIONS:
        return False
    if _VALUE_MODULES.fullmatch(node.module) or (node.module, node.name) in _TORCH_VALUES:
        return True
    # torch.float32, torch.strided
    return isinstance(node, Global) and node.module == "torch" and node.name[:1].islower()


# What is made by a function of another module


def _return_type(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the named tuple of a function of torch (`torch.return_types.max`) as a tuple."""
    if not 1 <= len(args) <= 2 or not (is_list(args[0]) or is_tuple(args[0])):
        raise TypeError("a named tuple is not made of its values")
    return tuple(args[0])


def _torch_version(args: tuple[Any, ...]) -> str:
    if len(args) != 1 or not isinstance(args[0], str):
        raise TypeError("a version is not made of text")
    return args[0]


def _getattr(args: tuple[Any, ...]) -> Global | Opaque:
    """Return, inert, what is written as getattr(owner, name): a nested class, an enum member, a bound method.

    Protocols below 4 have no other way to write these. Allowed only for classes and objects of other packages, for
    torch's classes, and for generators of random numbers: `random.random` is a method of one.
    """
    owner, name = args
    if isinstance(owner, (Global, Opaque)) and isinstance(name, str) and _is_identifier(name):
        top, last = owner.module.partition(".")[0], owner.name.rpartition(".")[2]
        own = top not in _REFUSED_TOP and (top != "torch" or last.lstrip("_")[:1].isupper())
        own = own or _is_random(owner) or str(owner) == "inspect._ParameterKind"  # a member, as Python 3.11.0 writes it
        own = own and not (isinstance(owner, Global) and owner.call)
        if own and not name.startswith("__") and owner.name.count(".") < MAX_NESTED_NAMES:
            is_class = isinstance(owner, Global)
            return Global(owner.module, f"{owner.name}.{name}") if is_class else Opaque("builtins", "getattr", args)
    raise UnsafePickleError(
        "pickle asks for `builtins.getattr`, which no state_dict needs",
        remedy="Nothing was run. Do not load this file with torch either.",
    )


def _is_random(owner: Global | Opaque) -> bool:
    return isinstance(owner, Opaque) and (owner.module == "random" or owner.module.startswith("numpy.random."))


def _type(args: tuple[Any, ...]) -> Global | None:
    """Return the type of None, NotImplemented or Ellipsis, which have no name to be pickled by; None for another."""
    value = args[0] if len(args) == 1 else _type
    if value is None:
        return Global("builtins", "NoneType", never_called)
    singleton = isinstance(value, Global) and value.module == "builtins" and _TYPES.get(value.name)
    return Global("builtins", singleton, never_called) if singleton else None


def _subscript(args: tuple[Any, ...]) -> Opaque | None:
    """Return, inert, what is written as getitem(typing.Union, (int, str)); None for that of anything but `typing`."""
    owner = args[0] if len(args) == 2 else None
    if not isinstance(owner, Global) or owner.module != "typing":
        return None
    return Opaque(owner.module, owner.name, args[1:], closed=True)


def _builtin_type(args: tuple[Any, ...]) -> Global:
    """Return, inert, the class of `types` that cloudpickle names by text.

    It makes methods and what is in `_INERT`; any other may only be named.
    """
    name = args[0] if len(args) == 1 else None
    if not isinstance(name, str) or not _is_identifier(name):
        raise TypeError("a builtin type is not named by text")
    if name == "MethodType":
        return Global("types", name, _method)
    if ("types", name) in _INERT:
        return Global("types", name)
    is_code = name in ("CodeType", "FunctionType")
    return Global("types", name, Uncalled("types", name, _stored_code if is_code else None), Uncalled("types", name))


def _method(args: tuple[Any, ...]) -> Opaque:
    """Return, inert, a method of another package's function and its object."""
    function = args[0] if len(args) == 2 else None
    if not isinstance(function, Global) or function.call or function.module.partition(".")[0] in _REFUSED_TOP:
        raise unsafe("types.MethodType", "calls")
    return Opaque("types", "MethodType", args, closed=True)


def _stored_code(_: tuple[Any, ...]) -> NoReturn:
    raise UnsafePickleError(
        "pickle was saved with cloudpickle, which stores code, and loading it would run that",
        remedy="Nothing was run. If you trust who made it, load it as they do and save the weights alone: "
        "torch.save(model.state_dict(), path)",
    )


_CLOUDPICKLE: Final = ("cloudpickle", "cloudpickle.cloudpickle", "cloudpickle.cloudpickle_fast")
_TYPES: Final = {"NotImplemented": "NotImplementedType", "Ellipsis": "ellipsis"}


def _getter(name: str) -> Meaning:
    """Return the meaning of a class of `operator` whose objects hold nothing but what they are made of."""

    def make(args: tuple[Any, ...]) -> Opaque:
        if not args or not all(_is_plain(arg) for arg in args):
            raise TypeError(f"operator.{name} is made of something that is no key or name")
        return Opaque("operator", name, args, closed=True)

    return Meaning(make)


def _is_plain(value: Any) -> bool:
    plain = value is None or isinstance(value, (str, bytes, int, float))
    return plain or (isinstance(value, Opaque) and (value.module, value.name) == ("builtins", "slice"))


_MEANINGS: Final[dict[tuple[str, str], Meaning]] = {
    **CONTAINERS,
    **ARRAYS,
    **TORCH_VALUES,
    **REBUILD,
    ("builtins", "getattr"): Meaning(_getattr),
    ("builtins", "type"): Meaning(Uncalled("builtins", "type", _type), Uncalled("builtins", "type")),
    **{
        (module, "getitem"): Meaning(Uncalled(module, "getitem", _subscript), Uncalled(module, "getitem"))
        for module in ("operator", "_operator")
    },
    **{(module, "_builtin_type"): Meaning(_builtin_type) for module in _CLOUDPICKLE},
    **{
        (module, name): Meaning(Uncalled(module, name, _stored_code), Uncalled(module, name))
        for module in _CLOUDPICKLE
        for name in ("_make_function", "_make_skel_func", "_make_skeleton_class", "_make_skeleton_enum")
    },
    ("operator", "attrgetter"): _getter("attrgetter"),
    ("operator", "itemgetter"): _getter("itemgetter"),
    ("torch.torch_version", "TorchVersion"): Meaning(_torch_version, _torch_version),
}
