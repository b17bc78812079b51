"""Names that a pickle may hold and may not use: harmless while they are only named, refused in every way of calling."""

from __future__ import annotations

import collections.abc
import contextlib
import functools
import inspect
import io
import operator
import pickle
import random
from typing import TYPE_CHECKING, Any, Callable, List, Optional  # noqa: UP035

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatch_wheelweights import open_checkpoint
from hatch_wheelweights.checkpoint import Account, Global, Opaque
from hatch_wheelweights.checkpoint import pickle as our_pickle
from hatch_wheelweights.checkpoint.allowed import find, is_value
from hatch_wheelweights.checkpoint.named_only import is_named_only
from hatch_wheelweights.errors import CheckpointError, UnsafePickleError
from making.checkpoints import CONTAINERS, zip_checkpoint
from making.pickles import (
    Code,
    beside,
    build,
    call,
    code,
    get,
    legacy_storage,
    name,
    ordered_dict,
    persistent,
    pickled,
    put,
    stack_name,
    storage,
    tensor,
)
from making.values import VALUES

if TYPE_CHECKING:
    from pathlib import Path

    from looking.opening import Refused

NAMED = [
    ("numpy", "mean"),
    ("numpy", "add"),
    ("numpy", "vectorize"),
    ("numpy", "array"),
    ("numpy", "copy"),
    ("numpy.linalg", "norm"),
    ("numpy.fft", "fft"),
    ("numpy.fft", "rfft"),
    ("numpy.polynomial.polynomial", "polyval"),
    ("numpy.core.fromnumeric", "mean"),
    ("numpy._core._multiarray_umath", "add"),
    ("numpy.lib.function_base", "percentile"),
    ("operator", "methodcaller"),
    ("_operator", "add"),
    ("builtins", "type"),
    ("builtins", "len"),
    ("builtins", "print"),
    ("builtins", "sorted"),
    ("__builtin__", "map"),
    ("__builtin__", "reduce"),
    ("math", "sqrt"),
    ("functools", "reduce"),
    ("_functools", "reduce"),
    ("random", "uniform"),
    ("collections", "UserString"),
    ("collections.abc", "Mapping"),
    ("_abcoll", "Mapping"),
    ("itertools", "imap"),
    ("operator", "getitem"),
    ("_operator", "getitem"),
    ("itertools", "chain"),
    ("statistics", "mean"),
    ("string", "Template"),
    ("numbers", "Number"),
    ("textwrap", "dedent"),
    ("time", "time"),
    ("copy", "deepcopy"),
    ("heapq", "nlargest"),
    ("bisect", "bisect"),
]
every_name = pytest.mark.parametrize(("module", "function"), NAMED, ids=map(".".join, NAMED))

OBJECT = name("builtins", "object")
RECONSTRUCTOR = name("copyreg", "_reconstructor")
FROM_TYPE = name("torch._tensor", "_rebuild_from_type_v2")
V2 = name("torch._utils", "_rebuild_tensor_v2")
V3 = name("torch._utils", "_rebuild_tensor_v3")
V2_ARGUMENTS = (storage(), 0, (4,), (1,), False, ordered_dict())
GETATTR = name("builtins", "getattr")


def full_name(module: str, function: str) -> str:
    return PYTHON_3.get(f"{module}.{function}", f"{module}.{function}")


PYTHON_3 = {
    "__builtin__.map": "builtins.map",
    "__builtin__.reduce": "functools.reduce",
    "_abcoll.Mapping": "collections.abc.Mapping",
    "itertools.imap": "builtins.map",
}


# ------------------------------------------------------------------------------------------- named


@every_name
def test_a_name_alone_is_an_inert_node_that_is_told_of(tmp_path: Path, marker: str, module: str, function: str) -> None:
    path = tmp_path / "model.pt"
    for named in (name(module, function), stack_name(module, function)):
        path.write_bytes(zip_checkpoint(beside(named)))
        with open_checkpoint(path) as checkpoint:
            node = checkpoint.tree["x"]
            found = checkpoint.state_dict()
        assert (type(node), str(node)) == (Global, full_name(module, function))
        assert not is_value(node)
        np.testing.assert_array_equal(found["w"].numpy(), np.array(VALUES, np.float32))
        assert f"`x` (`{full_name(module, function)}`)" in str(found.report.warnings[0])


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_a_root_that_is_only_named_is_no_state_dict(refused: Refused, container: Any) -> None:
    refused(container(pickled(name("numpy", "mean"))))


SETTINGS: dict[str, Any] = {
    "a function": np.mean,
    "a ufunc": np.add,
    "one in C": operator.add,
    "a partial function": functools.partial(np.mean, axis=0),
    "in a list": [functools.reduce, len],
    "as a key": {np.sum: 1},
    "a method of a generator": random.random,
    "a method of numpy's generator": np.random.rand,
    "a key getter": operator.itemgetter(1, "a", None, 2.5),
    "a getter of slices": operator.itemgetter(slice(1, 2)),
    "an attribute getter": operator.attrgetter("a.b", "c"),
    "the type of None": type(None),
    "the type of NotImplemented": type(NotImplemented),
    "the type of Ellipsis": type(...),
    "a class": type,
    "an abstract class": collections.abc.Mapping,
    "an exception": ValueError("nan", 1),
    "an exception of the system": OSError(2, "no file"),
    "a class of exceptions": KeyError,
    "a group of types": Optional[int],  # noqa: UP045
    "a generic type": List[int],  # noqa: UP006
    "a type of functions": Callable[[int], Any],
    "a context that does nothing": contextlib.nullcontext(1),
    "a signature": inspect.signature(lambda a, /, b=1, *c, d=None, **e: None),
    "a text in memory": io.StringIO("log"),
}


WITH_ARRAYS = {"a method of numpy's generator"}  # which would be lost without a word


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", SETTINGS)
def test_opens_what_settings_name(opened: Any, kind: str, protocol: int) -> None:
    """As Python's own pickler writes it."""
    if kind == "a text in memory" and protocol < 2:
        pytest.skip("Python has no such pickles")
    setting = pickle.dumps(SETTINGS[kind], protocol)
    start = 2 if protocol >= 2 else 0
    options = {"exclude": ["x"]} if kind in WITH_ARRAYS else {}
    assert list(opened(zip_checkpoint(beside(Code(setting[start:-1]))), **options)) == ["w"]


def read(value: Code) -> Any:
    return our_pickle.load(pickled(value), find=find, account=Account(10_000))[0]


def test_a_type_of_one_value_is_known_by_the_value() -> None:
    of = name("builtins", "type")
    assert read(call(of, None)) == Global("builtins", "NoneType")
    assert read(call(of, name("builtins", "Ellipsis"))) == Global("builtins", "ellipsis")
    assert read(call(of, name("__builtin__", "NotImplemented"))) == Global("builtins", "NotImplementedType")


@pytest.mark.parametrize(
    "arguments",
    [(), (1,), ("T", (), {}), (None, None), (OBJECT,), (name("m", "NotImplemented"),), ({},)],
)  # fmt: skip
def test_type_of_anything_else_is_refused(refused: Refused, arguments: tuple[object, ...]) -> None:
    refused(
        zip_checkpoint(beside(call(name("builtins", "type"), *arguments))), "builtins.type", error=UnsafePickleError
    )


def test_the_type_of_none_is_never_called(refused: Refused) -> None:
    none_type = call(name("builtins", "type"), None)
    refused(zip_checkpoint(beside(call(none_type))))
    refused(zip_checkpoint(beside(Code(none_type + b")\x81"))))
    refused(zip_checkpoint(beside(call(GETATTR, none_type, "x"))), error=UnsafePickleError)
    refused(zip_checkpoint(beside(build(none_type, {}))))


def test_a_getter_holds_its_arguments_and_gets_nothing(refused: Refused) -> None:
    getter = call(name("operator", "itemgetter"), 1, "a")
    found = read(getter)
    assert (type(found), str(found), found.args) == (Opaque, "operator.itemgetter", (1, "a"))
    refused(zip_checkpoint(beside(call(getter, {"a": 1}))), "operator.itemgetter", error=UnsafePickleError)
    refused(zip_checkpoint(beside(build(getter, {"a": 1}))), "operator.itemgetter")
    refused(zip_checkpoint(beside(Code(getter + code(1) + b"a"))), "operator.itemgetter")
    refused(zip_checkpoint(beside(Code(name("operator", "attrgetter") + code(("a",)) + b"\x81"))))
    for arguments in ((), (tensor(),), ([1],), (name("numpy", "mean"),)):
        refused(zip_checkpoint(beside(call(name("operator", "itemgetter"), *arguments))))


def test_a_subscript_is_one_of_a_name_of_typing(refused: Refused) -> None:
    getitem, integer = name("_operator", "getitem"), name("__builtin__", "long")
    union = call(getitem, name("typing", "Union"), (integer, integer))
    found = read(union)
    assert (type(found), str(found)) == (Opaque, "typing.Union")
    assert found.args == ((Global("builtins", "int"),) * 2,)
    for owner in (name("m", "Generic"), integer, union, name("numpy", "mean"), [1], {"a": 1}, "typing", tensor()):
        refused(zip_checkpoint(beside(call(getitem, owner, 0))), "_operator.getitem", error=UnsafePickleError)
    for arguments in ((), (name("typing", "List"),), (name("typing", "List"), 1, 2)):
        refused(zip_checkpoint(beside(call(getitem, *arguments))), "_operator.getitem", error=UnsafePickleError)
    refused(zip_checkpoint(beside(call(union, 1))), "typing.Union", error=UnsafePickleError)
    refused(zip_checkpoint(beside(build(union, {"a": 1}))), "typing.Union")


def test_an_exception_is_told_of_with_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(zip_checkpoint(beside(call(name("exceptions", "StandardError"), "a", 1))))
    with open_checkpoint(path) as checkpoint:
        node = checkpoint.tree["x"]
        assert (type(node), str(node), node.args) == (Opaque, "builtins.Exception", ("a", 1))
        assert not is_value(node)
        assert "`x` (`builtins.Exception`)" in str(checkpoint.state_dict().report.warnings[0])


def test_a_defaultdict_makes_nothing_by_what_is_only_named(opened: Any) -> None:
    made = call(name("collections", "defaultdict"), name("numpy", "mean"))
    assert list(opened(zip_checkpoint(beside(made)))) == ["w"]


# ------------------------------------------------------------------------------------------- used

USES: dict[str, Callable[[Code], Code]] = {
    "REDUCE": lambda f: call(f, 1),
    "REDUCE without arguments": call,
    "REDUCE of no tuple": lambda f: Code(f + code([1]) + b"R"),
    "NEWOBJ": lambda f: Code(f + b")\x81"),
    "NEWOBJ with arguments": lambda f: Code(f + code((1,)) + b"\x81"),
    "BUILD": lambda f: build(f, {"a": 1}),
    "BUILD of slots": lambda f: build(f, (None, {"__code__": 1})),
    "memo": lambda f: Code(put(f, 7) + b"0" + call(get(7), 1)),
    "copyreg": lambda f: call(RECONSTRUCTOR, f, OBJECT, None),
    "copyreg, base": lambda f: call(RECONSTRUCTOR, name("m", "C"), f, None),
    "from type": lambda f: call(FROM_TYPE, f, name("m", "C"), V2_ARGUMENTS, {}),
    "from type, class": lambda f: call(FROM_TYPE, V2, f, V2_ARGUMENTS, {}),
    "getattr": lambda f: call(GETATTR, f, "x"),
    "getattr, called": lambda f: call(call(GETATTR, f, "x"), 1),
    "class of an array": lambda f: call(name("numpy.core.multiarray", "_reconstruct"), f, (0,), b"b"),
    "dtype of an array": lambda f: call(name("numpy", "dtype"), f, False, True),
    "dtype of a tensor": lambda f: call(V3, storage(), 0, (4,), (1,), False, ordered_dict(), f),
    "storage of a tensor": lambda f: call(V2, f, 0, (4,), (1,), False, ordered_dict()),
    "what a parameter wraps": lambda f: call(name("torch.nn.parameter", "Parameter"), f),
    "argument of a device": lambda f: call(name("torch", "device"), f),
}
REFUSED_OTHERWISE: dict[str, Callable[[str, str], Code]] = {
    "INST": lambda module, function: Code(f"(i{module}\n{function}\n".encode()),
    "OBJ": lambda module, function: Code(b"(" + name(module, function) + b"o"),
    "NEWOBJ_EX": lambda module, function: Code(name(module, function) + b")}\x92"),
    "SETITEM": lambda module, function: Code(name(module, function) + code("k") + code(1) + b"s"),
    "SETITEMS": lambda module, function: Code(name(module, function) + b"(" + code("k") + code(1) + b"u"),
    "APPEND": lambda module, function: Code(name(module, function) + code(1) + b"a"),
    "ADDITEMS": lambda module, function: Code(name(module, function) + b"(" + code(1) + b"\x90"),
    "a partial one, called": lambda module, function: call(
        call(name("functools", "partial"), name(module, function)), 1
    ),
    "__newobj__": lambda module, function: call(name("copyreg", "__newobj__"), name(module, function)),
    "storage class": lambda module, function: tensor(persistent("storage", name(module, function), "0", "cpu", 4)),
    "dtype in a call of a call": lambda module, function: call(
        FROM_TYPE, V3, name("m", "C"), (*V2_ARGUMENTS, name(module, function)), {}
    ),
    "a dotted name": lambda module, function: stack_name(module, f"{function}.__class__"),
    "a private name": lambda module, function: name(module, f"_{function}"),
}  # fmt: skip


@every_name
@pytest.mark.parametrize("use", USES)
def test_refuses_every_use_of_such_a_name(refused: Refused, module: str, function: str, use: str) -> None:
    attack = USES[use](name(module, function))
    refused(zip_checkpoint(beside(attack)), f"`{full_name(module, function)}`", error=UnsafePickleError)
    dropped = b"\x80\x02" + attack + b"0" + ordered_dict({"w": tensor()}) + b"."
    refused(zip_checkpoint(dropped), f"`{full_name(module, function)}`", error=UnsafePickleError)


@every_name
@pytest.mark.parametrize("use", REFUSED_OTHERWISE)
def test_refuses_what_no_checkpoint_does_with_it(refused: Refused, module: str, function: str, use: str) -> None:
    refused(zip_checkpoint(beside(REFUSED_OTHERWISE[use](module, function))), "byte")


# ------------------------------------------------------------------------------------------- cloudpickle

CLOUD = "cloudpickle.cloudpickle"


def builtin_type(text: Any) -> Code:
    return call(name(CLOUD, "_builtin_type"), text)


def test_a_type_that_cloudpickle_names_is_inert(opened: Any) -> None:
    assert read(builtin_type("CodeType")) == Global("types", "CodeType")
    assert read(call(builtin_type("SimpleNamespace"))).name == "SimpleNamespace"
    method = read(call(builtin_type("MethodType"), name("mynet", "Net.forward"), call(name("mynet", "Net"))))
    assert (type(method), str(method)) == (Opaque, "types.MethodType")
    assert list(opened(zip_checkpoint(beside(builtin_type("CodeType"))))) == ["w"]


@pytest.mark.parametrize("kind", ["CodeType", "FunctionType", "ModuleType", "LambdaType", "CellType", "MadeUp"])
@pytest.mark.parametrize("use", USES)
def test_refuses_every_use_of_a_type_that_cloudpickle_names(refused: Refused, kind: str, use: str) -> None:
    refused(zip_checkpoint(beside(USES[use](builtin_type(kind)))), error=UnsafePickleError)


def test_a_method_is_one_of_another_package(refused: Refused) -> None:
    method = builtin_type("MethodType")
    for function in (name("numpy", "mean"), name("torch._utils", "_rebuild_tensor_v2"), name("datetime", "date"), 1):
        refused(zip_checkpoint(beside(call(method, function, 1))), error=UnsafePickleError)
    for arguments in ((), (name("m", "f"),), (name("m", "f"), 1, 2)):
        refused(zip_checkpoint(beside(call(method, *arguments))), "types.MethodType", error=UnsafePickleError)
    refused(zip_checkpoint(beside(Code(method + b")\x81"))))
    refused(zip_checkpoint(beside(call(call(method, name("m", "f"), 1), 1))), "calls", error=UnsafePickleError)
    for text in (1, None, "a.b", "", ("CodeType",)):
        refused(zip_checkpoint(beside(builtin_type(text))))


@pytest.mark.parametrize("function", ["_make_function", "_make_skeleton_class", "_make_skeleton_enum", "CodeType"])
def test_code_that_cloudpickle_stores_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    monkeypatch.chdir(tmp_path)
    made = builtin_type(function) if function == "CodeType" else name(CLOUD, function)
    (tmp_path / "model.pt").write_bytes(zip_checkpoint(beside(call(made, name("builtins", "type"), 1))))
    with pytest.raises(UnsafePickleError) as caught:
        open_checkpoint("model.pt")
    first, remedy = str(caught.value).splitlines()
    assert first.startswith(
        "model.pt: pickle was saved with cloudpickle, which stores code, and loading it would run that (at byte "
    )
    assert remedy == (
        "  Nothing was run. If you trust who made it, load it as they do and save the weights alone: "
        "torch.save(model.state_dict(), path)"
    )


@pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)
def test_refuses_a_call_in_every_container(refused: Refused, container: Any) -> None:
    refused(
        container(pickled(call(name("numpy", "mean"), [1.0]))), "pickle calls `numpy.mean`", error=UnsafePickleError
    )


def test_refuses_the_class_of_a_module_in_a_legacy_stream(refused: Refused) -> None:
    """Such an id gives the class, which is then made an object of."""
    module = persistent("module", name("numpy", "mean"), "file.py", "source")
    from_stream = CONTAINERS["legacy"]
    refused(from_stream(pickled({"w": tensor(legacy_storage()), "x": Code(module + b")\x81")})), "numpy.mean")


def test_the_error_of_a_call_says_what_is_called_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.pt").write_bytes(zip_checkpoint(pickled(call(name("math", "sqrt"), 2))))
    with pytest.raises(UnsafePickleError) as caught:
        open_checkpoint("model.pt")
    assert str(caught.value) == (
        "model.pt: pickle calls `math.sqrt`, which no state_dict needs (at byte 17 of archive/data.pkl)\n"
        "  Nothing was run. Do not load this file with torch either; "
        "get the weights as .safetensors from someone you trust."
    )
    assert caught.value.found == "math.sqrt"


# ------------------------------------------------------------------------------------------- the line

MODULES = sorted({module for module, _ in NAMED if "builtin" not in module})
ATTACKS = [
    ("numpy", "load"),
    ("numpy", "fromfile"),
    ("numpy", "save"),
    ("numpy", "genfromtxt"),
    ("numpy", "DataSource"),
    ("numpy", "os"),
    ("numpy", "sys"),
    ("numpy", "f2py"),
    ("numpy", "pkgload"),
    ("numpy", "source"),
    ("numpy.core.multiarray", "fromfile"),
    ("numpy.lib.npyio", "load"),
    ("numpy.lib.format", "read_array"),
    ("numpy.lib.utils", "safe_eval"),
    ("numpy.ctypeslib", "load_library"),
    ("numpy.distutils.exec_command", "exec_command"),
    ("numpy.core._internal", "ast"),
    ("numpy.core.records", "fromfile"),
    ("numpy.core", "_ufunc_reconstruct"),
    ("numpy.linalg.tests.test_linalg", "LinalgCase"),
    ("collections", "namedtuple"),
    ("functools", "namedtuple"),
    ("statistics", "sys"),
    ("random", "os"),
    ("random", "_os"),
    ("string", "_re"),
    ("copy", "copyreg"),
    ("collections", "_sys"),
    ("enum", "sys"),
    ("types", "FunctionType"),
    ("types", "CodeType"),
    ("inspect", "getsource"),
    ("dataclasses", "make_dataclass"),
    ("base64", "b64decode"),
    ("zlib", "decompress"),
    ("codecs", "decode"),
    ("posixpath", "exists"),
    ("uuid", "getnode"),
    ("logging", "FileHandler"),
    ("copyreg", "__newobj__"),
    ("weakref", "finalize"),
    ("builtins", "setattr"),
    ("builtins", "delattr"),
    ("builtins", "hasattr"),
    ("builtins", "globals"),
    ("builtins", "locals"),
    ("builtins", "vars"),
    ("builtins", "dir"),
    ("builtins", "help"),
    ("builtins", "input"),
    ("builtins", "memoryview"),
    ("builtins", "__build_class__"),
    ("builtins", "execfile"),
    ("builtins", "file"),
    ("__builtin__", "reload"),
    ("__builtin__", "raw_input"),
    ("__builtin__", "execfile"),
    ("__builtin__", "intern"),
    ("__builtin__", "open"),
    ("exceptions", "eval"),
    ("builtins", "MadeUpError"),
    ("commands", "getoutput"),
    ("os", "getcwdu"),
    ("cPickle", "loads"),
    ("cStringIO", "open"),
    ("StringIO", "open"),
    ("io", "FileIO"),
    ("_io", "TextIOWrapper"),
    ("urllib", "urlopen"),
    ("urllib2", "urlopen"),
    ("_socket", "fromfd"),
    ("multiprocessing.forking", "Popen"),
    ("multiprocessing.process", "Process"),
    ("thread", "start_new_thread"),
    ("contextlib", "ExitStack"),
    ("contextlib", "contextmanager"),
    ("inspect", "signature"),
    ("inspect", "Parameter.__init__"),
    ("inspect", "BoundArguments"),
]


@pytest.mark.parametrize(("module", "function"), ATTACKS, ids=map(".".join, ATTACKS))
def test_refuses_the_name_alone_where_only_an_attack_needs_it(refused: Refused, module: str, function: str) -> None:
    refused(zip_checkpoint(beside(name(module, function))), f".{function}`", error=UnsafePickleError)


@given(st.sampled_from(MODULES), st.from_regex(r"[A-Za-z_.][A-Za-z0-9_.]{0,12}", fullmatch=True))
def test_whatever_is_listed_is_never_more_than_named(module: str, function: str) -> None:
    """For any name in the listed modules: refused, inert (a class that holds values), known, or named only."""
    try:
        found = find(module, function)
    except UnsafePickleError:
        assert not is_named_only(module, function)
        return
    assert "." not in function
    if is_named_only(module, function) and found.named_only:
        for use in (USES["REDUCE"], USES["NEWOBJ"], USES["BUILD"]):
            with pytest.raises(UnsafePickleError):
                read(use(name(module, function)))


@given(st.sampled_from(NAMED), st.recursive(st.none() | st.integers() | st.text(max_size=5), st.lists, max_leaves=4))
def test_no_arguments_make_a_call_of_a_named_function_harmless(named: tuple[str, str], argument: object) -> None:
    if named == ("builtins", "type") and argument is None:
        return
    for function in (name(*named), stack_name(*named)):
        with pytest.raises(UnsafePickleError):
            read(call(function, argument))


@given(st.sampled_from(NAMED), st.sampled_from(sorted(USES)), st.sampled_from([b"", b"N0", b"K\x010", b"]0"]))
def test_no_place_in_a_pickle_makes_a_use_harmless(named: tuple[str, str], use: str, before: bytes) -> None:
    attack = Code(before + USES[use](name(*named)))
    for where in (attack, Code(b"]" + attack + b"a"), Code(code({"k": attack})), call(name("m", "C"), attack)):
        with pytest.raises(CheckpointError):
            read(where)


def test_public_names_of_the_listed_modules_that_open_files_or_run_text_are_refused() -> None:
    """A new numpy may have more: whatever takes a file or a file name, or text as code, belongs in the exceptions."""
    words = ("load", "save", "file", "open", "txt", "csv", "exec", "eval", "compile", "import", "source", "docstring")
    harmless = {"dot_compiler", "get_printoptions"}
    for module in (np, np.linalg, np.fft, np.polynomial):
        public = {each for each in dir(module) if is_named_only(module.__name__, each)}
        assert not {each for each in public - harmless if any(word in each.lower() for word in words)}
