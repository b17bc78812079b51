"""The names that a pickle may use, whatever Python reads it."""

from __future__ import annotations

import builtins
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING

import pytest

from hatch_wheelweights.checkpoint import stdlib_names
from hatch_wheelweights.checkpoint.allowed import find
from hatch_wheelweights.errors import UnsafePickleError


def test_the_standard_library_of_this_python_is_known() -> None:
    """A module of a new Python is missing here until somebody has added it."""
    assert sys.stdlib_module_names <= stdlib_names.STANDARD_LIBRARY
    assert not stdlib_names.STANDARD_LIBRARY & stdlib_names.OLD_OR_COMMON


def test_the_exceptions_of_this_python_are_known() -> None:
    found = {name for name, each in vars(builtins).items() if isinstance(each, type)}
    exceptions = {name for name in found if issubclass(getattr(builtins, name), BaseException)}
    assert {name for name in exceptions if not name.startswith("_")} <= stdlib_names.EXCEPTIONS


def test_every_name_of_python_2_is_known_by_that_of_python_3() -> None:
    """As Python's own unpickler reads them, but for modules that people write themselves."""
    modules = {old: new for old, new in IMPORT_MAPPING.items() if old not in stdlib_names.OLD_OR_COMMON}
    assert {**modules, "exceptions": "builtins"}.items() <= stdlib_names.PYTHON_3_MODULES.items()
    assert set(stdlib_names.PYTHON_3_MODULES) - set(modules) <= {"exceptions", "Tix"}  # gone in Python 3.13
    for (module, name), new in NAME_MAPPING.items():
        by_module = (stdlib_names.PYTHON_3_MODULES.get(module, module), name)
        assert stdlib_names.PYTHON_3_NAMES.get((module, name), by_module) == new
    assert set(stdlib_names.PYTHON_3_NAMES) <= set(NAME_MAPPING)


@pytest.mark.parametrize(("old", "new"), [*NAME_MAPPING.items()])
def test_a_name_of_python_2_means_what_python_3_means_by_it(old: tuple[str, str], new: tuple[str, str]) -> None:
    try:
        found = find(*new)
    except UnsafePickleError:
        with pytest.raises(UnsafePickleError) as caught:
            find(*old)
        assert caught.value.found == ".".join(old)
    else:
        assert (find(*old), find(*old).call, find(*old).new) == (found, found.call, found.new)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("commands", "getoutput"),
        ("popen2", "Popen3"),
        ("httplib", "HTTPSConnection"),
        ("annotationlib", "ForwardRef"),
        ("_pyrepl.pager", "pipe_pager"),
        ("concurrent.interpreters", "create"),
        ("compression.zstd", "open"),
        ("idlelib.pyshell", "ModifiedInterpreter"),
        ("lib2to3.pgen2.grammar", "Grammar"),
        ("distutils.file_util", "write_file"),
        ("asynchat", "async_chat"),
        ("test.support.script_helper", "assert_python_ok"),
        ("parser", "sequence2st"),
        ("new", "function"),
        ("numpy.testing._private.utils", "runstring"),
        ("numpy.f2py.capi_maps", "load_f2cmap_file"),
        ("numpy", "load"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.utils.collect_env", "run"),
        ("torch.utils.cpp_extension", "load_inline"),
        ("torch._inductor.codecache", "compile_file"),
        ("torch._dynamo.guards", "GuardBuilder.get"),
        ("torch.jit.unsupported_tensor_ops", "execWrapper"),
        ("torch.distributed.run", "main"),
        ("setuptools", "setup"),
    ],
)
def test_refuses_what_no_checkpoint_needs(module: str, name: str) -> None:
    with pytest.raises(UnsafePickleError) as caught:
        find(module, name)
    assert caught.value.found == f"{module}.{name}"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("mynet", "Net"),
        ("parser", "Config"),
        ("test", "Net"),
        ("user.model", "Model"),
        ("torch.nn.modules.linear", "Linear"),
        ("torch.nn.functional", "relu"),
        ("torch._C._nn", "gelu"),
        ("torch._dynamo.eval_frame", "OptimizedModule"),
        ("torch.fx.graph_module", "reduce_graph_module"),
        ("torch.utils.data.dataloader", "DataLoader"),
        ("torch.utils.data._utils.collate", "default_collate"),
        ("torch.optim.lr_scheduler", "StepLR"),
        ("torch.jit._recursive", "wrap_cpp_module"),
        ("functools", "partial"),
        ("contextlib", "nullcontext"),
        ("_io", "StringIO"),
        ("inspect", "Signature"),
        ("builtins", "ValueError"),
        ("Queue", "Config"),
        ("numpy.random._pickle", "__randomstate_ctor"),
    ],
)
def test_other_names_are_inert(module: str, name: str) -> None:
    found = find(module, name)
    assert (str(found), found.call, found.new) == (f"{module}.{name}", None, None)
