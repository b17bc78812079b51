"""Functions that a pickle may name and may not call: the line between what settings hold and what attacks need.

On this side are functions and classes that compute on what they are given: they neither run text or bytes as code, nor
import, nor reach files, processes or the network. They are the names in the modules `_MODULES` and `_NUMPY`, less those
in `_EXCEPT`, and of builtins those in `_BUILTINS`. On the other side is a name that begins with an
underscore or has a dot in it, that of a module (`random.os`), and every module of the standard library and of numpy
that is not listed.
"""

from __future__ import annotations

import re
from typing import Final

from hatch_wheelweights.checkpoint.stdlib_names import STANDARD_LIBRARY

__all__ = ["is_named_only"]

# Of the standard library; functions written in C are often pickled by a module of the same name with an underscore
_MODULES: Final = re.compile(
    r"_?(bisect|collections|decimal|functools|heapq|operator|random|statistics|string)"
    r"|collections\.abc|_collections_abc|cmath|copy|fractions|itertools|math|numbers|textwrap|time|unicodedata"
)
# Of numpy: its public modules, and those where older versions say that the functions of `numpy` are
_NUMPY: Final = re.compile(
    r"numpy|numpy\.fft(\.(_pocketfft|fftpack|helper|_helper|pocketfft))?|numpy\.linalg(\._?linalg)?"
    r"|numpy\.polynomial(\.(chebyshev|hermite|hermite_e|laguerre|legendre|polynomial|polyutils))?"
    r"|numpy\.(core|_core)\.(_multiarray_umath|arrayprint|defchararray|einsumfunc|fromnumeric|function_base|getlimits"
    r"|multiarray|numeric|numerictypes|shape_base|strings|umath)"
    r"|numpy\.lib\.(_?(arraypad|arraysetops|function_base|histograms|index_tricks|nanfunctions|polynomial|shape_base"
    r"|stride_tricks|twodim_base|type_check|ufunclike)(_impl)?|scimath)|numpy\.ma\.extras"
)
# Run text that is made of their arguments, import, read or write files, or show source
_EXCEPT: Final = frozenset({
    "DataSource", "PackageLoader", "Tester", "add_docstring", "add_newdoc", "add_newdoc_ufunc", "bench", "deprecate",
    "deprecate_with_doc", "disp", "fromfile", "fromregex", "genfromtxt", "get_include", "info", "load", "loads",
    "loadtxt", "lookfor", "mafromtxt", "namedtuple", "ndfromtxt", "pkgload", "recfromcsv", "recfromtxt", "safe_eval",
    "save", "savetxt", "savez", "savez_compressed", "show_config", "show_runtime", "source", "test", "who",
})  # fmt: skip
_MODULES_OF_NUMPY: Final = frozenset({
    "arrayprint", "char", "compat", "core", "ctypeslib", "distutils", "doc", "dtypes", "emath", "exceptions", "f2py",
    "fft", "fromnumeric", "lib", "linalg", "ma", "matlib", "matrixlib", "mu", "multiarray", "np", "ntypes", "numarray",
    "numeric", "numerictypes", "numpy", "oldnumeric", "overrides", "pfu", "polynomial", "polyutils", "pu", "rec",
    "setup", "strings", "testing", "tests", "um", "umath", "version",
})  # fmt: skip
# Modules, but for those by whose name a listed module has a function or class
_LIBRARY: Final = STANDARD_LIBRARY - {"UserString", "array", "copy", "decimal", "select", "trace"}
# Of Python 2 and 3: neither `eval` and its like, nor what reaches attributes, scopes or a debugger; `print` is a logger
_BUILTINS: Final = frozenset({
    "abs", "all", "any", "ascii", "bin", "callable", "chr", "classmethod", "cmp", "coerce", "divmod", "enumerate",
    "filter", "format", "hash", "hex", "id", "isinstance", "issubclass", "iter", "len", "map", "max", "min", "next",
    "oct", "ord", "pow", "print", "property", "reduce", "repr", "reversed", "round", "sorted", "staticmethod", "sum",
    "super", "unichr", "zip",
})  # fmt: skip


def is_named_only(module: str, name: str) -> bool:
    """Tell whether a name does no harm as long as nothing is called by it."""
    if not name.isidentifier() or name.startswith("_"):
        return False
    if module == "builtins":
        return name in _BUILTINS
    own = module.rpartition(".")[2].lstrip("_")  # `copy.copy`, `numpy.fft.fft`
    if name in _EXCEPT or (name in _LIBRARY and name != own):
        return False
    if _NUMPY.fullmatch(module):
        return name not in _MODULES_OF_NUMPY or name == own
    return _MODULES.fullmatch(module) is not None
