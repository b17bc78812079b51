"""Pickles built to run code, in every container that holds pickles."""

from __future__ import annotations

import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from hatch_wheelweights import open_checkpoint
from hatch_wheelweights.errors import UnsafePickleError
from making.checkpoints import CONTAINERS, legacy_checkpoint, zip_checkpoint
from making.pickles import (
    Code,
    beside,
    build,
    call,
    code,
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
from making.zips import Member

if TYPE_CHECKING:
    from collections.abc import Callable

    from looking.opening import Refused

every_container = pytest.mark.parametrize("container", CONTAINERS.values(), ids=CONTAINERS)

EVAL = name("builtins", "eval")
SYSTEM = name("os", "system")


def creates(marker: str) -> str:
    """Python code that creates the marker."""
    return f"open({marker!r}, 'w').close()"


# ------------------------------------------------------------------------------------- controls


@pytest.mark.parametrize("protocol", range(6))
def test_opens_plain_values_of_every_protocol(opened: Any, tmp_path: Any, protocol: int) -> None:
    """What Python's own pickler writes: every way to say a number, a text or a container."""
    value = {
        "ints": [0, 1, -1, 255, 256, 65535, 65536, -(2**31), 2**31, 2**63, -(2**63) - 1, 2**200],
        "floats": [0.5, -1e300, float("inf")],
        "text": ["", "é" * 300, "\N{SNOWMAN}\n\\", "a\U0001f600b"],
        "bytes": [b"", b"\x00\xff" * 200],
        "nothing": [None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}],
        "sets": [{1, 2}, frozenset({3})],
        "complex": 1 + 2j,
        "deep": {"a": {"b": [{"c": (1, [2])}]}},
    }
    (tmp_path / "plain.pt").write_bytes(zip_checkpoint(pickle.dumps(value, protocol)))
    with open_checkpoint(tmp_path / "plain.pt") as checkpoint:
        tree = checkpoint.tree
    assert [set(item) for item in tree.pop("sets")] == [{1, 2}, {3}]
    assert tree == {key: item for key, item in value.items() if key != "sets"}


@pytest.mark.parametrize("protocol", range(6))
def test_opens_the_undeviated_pickle_under_every_protocol(opened: Any, protocol: int) -> None:
    np.testing.assert_array_equal(opened(zip_checkpoint(pickled({"w": tensor()}, protocol)))["w"], VALUES)


@every_container
def test_opens_the_undeviated_container(opened: Any, container: Any) -> None:
    arrays = opened(container())
    assert list(arrays) == ["w"]
    np.testing.assert_array_equal(arrays["w"], np.array(VALUES, np.float32))


# ------------------------------------------------------------------------------------- code


@every_container
def test_refuses_a_global_that_runs_code(refused: Refused, marker: str, container: Any) -> None:
    attack = pickled(call(EVAL, creates(marker)))
    message = refused(container(attack), "builtins.eval", error=UnsafePickleError)
    assert re.search(r"at byte [\d,]+ of", message)


HOSTILE = [
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "__import__"),
    ("builtins", "compile"),
    ("builtins", "open"),
    ("builtins", "breakpoint"),
    ("__builtin__", "eval"),
    ("__builtin__", "apply"),
    ("os", "system"),
    ("os", "popen"),
    ("posix", "system"),
    ("nt", "system"),
    ("subprocess", "Popen"),
    ("subprocess", "check_output"),
    ("sys", "exit"),
    ("importlib", "import_module"),
    ("runpy", "run_path"),
    ("pty", "spawn"),
    ("shutil", "rmtree"),
    ("socket", "create_connection"),
    ("ctypes", "CDLL"),
    ("pickle", "loads"),
    ("_pickle", "loads"),
    ("marshal", "loads"),
]


@pytest.mark.parametrize(("module", "function"), HOSTILE, ids=map(".".join, HOSTILE))
def test_refuses_names_of_the_standard_library_that_reach_code(
    refused: Refused, marker: str, module: str, function: str
) -> None:
    attack = beside(call(name(module, function), creates(marker)))
    refused(zip_checkpoint(attack), f".{function}`", error=UnsafePickleError)


@pytest.mark.parametrize(("module", "function"), HOSTILE, ids=map(".".join, HOSTILE))
def test_refuses_such_a_name_even_where_it_is_only_named(refused: Refused, module: str, function: str) -> None:
    refused(zip_checkpoint(beside(name(module, function))), f".{function}`", error=UnsafePickleError)
    refused(zip_checkpoint(beside(stack_name(module, function))), f".{function}`", error=UnsafePickleError)


def test_never_gets_an_attribute_of_what_is_real(refused: Refused) -> None:
    """`getattr(Colour, "RED")` is how Python 3.11 writes an enum, so the name alone is harmless."""
    getter = name("builtins", "getattr")
    for owner, attribute in [("os", "system"), ("torch", "load"), ("builtins", "eval"), ("numpy", "load")]:
        refused(zip_checkpoint(beside(call(getter, name("mymodule", "Thing"), "__class__"))), error=UnsafePickleError)
        refused(zip_checkpoint(beside(call(getter, owner, attribute))), error=UnsafePickleError)
        refused(zip_checkpoint(beside(call(call(getter, name("collections", "OrderedDict"), "fromkeys"), [1]))))
    refused(zip_checkpoint(beside(call(getter, tensor(), "numpy"))), error=UnsafePickleError)
    refused(zip_checkpoint(beside(call(getter, {}, "get"))), error=UnsafePickleError)


GADGETS = [
    ("numpy.f2py.crackfortran", "myeval"),
    ("numpy.f2py.crackfortran", "getlincoef"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy", "load"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("torch.jit", "load"),
    ("torch.serialization", "load"),
    ("torch._inductor.codecache", "compile_file"),
    ("torch.utils.bottleneck.__main__", "run_autograd_prof"),
    ("torch.utils._config_module", "ConfigModule.load_config"),
    ("torch.fx.experimental.symbolic_shapes.ShapeEnv", "evaluate_guards_expression"),
    ("collections", "namedtuple"),
    ("idlelib.run", "Executive.runcode"),
    ("profile", "run"),
    ("timeit", "timeit"),
    ("asyncio.unix_events", "_UnixSubprocessTransport._start"),
    ("pip", "main"),
    ("pip._internal.cli.main", "main"),
]


@every_container
@pytest.mark.parametrize(("module", "function"), GADGETS, ids=map(".".join, GADGETS))
def test_refuses_a_root_made_by_a_function_it_does_not_know(
    refused: Refused, marker: str, container: Any, module: str, function: str
) -> None:
    refused(container(pickled(call(name(module, function), creates(marker)))))


@pytest.mark.parametrize(("module", "function"), GADGETS, ids=map(".".join, GADGETS))
def test_never_calls_a_function_it_does_not_know(survived: Any, marker: str, module: str, function: str) -> None:
    survived(zip_checkpoint(beside(call(name(module, function), creates(marker)))))


@every_container
def test_refuses_inst(refused: Refused, marker: str, container: Any) -> None:
    refused(container(b"(" + code(creates(marker)) + b"ibuiltins\neval\n."), "byte")


@every_container
def test_refuses_obj_even_if_its_result_is_popped(refused: Refused, marker: str, container: Any) -> None:
    attack = b"\x80\x02(" + SYSTEM + code(f"touch {marker}") + b"o0" + ordered_dict({"w": tensor()}) + b"."
    refused(container(attack), "byte")


def test_refuses_inst_and_obj_of_harmless_classes(refused: Refused) -> None:
    refused(zip_checkpoint(b"(icollections\nOrderedDict\n."), "INST", "byte 1")
    refused(zip_checkpoint(b"(" + name("collections", "OrderedDict") + b"o."), "OBJ")


@pytest.mark.parametrize("attribute", ["storage.os.getcwd", "_utils.os.system", "FloatStorage.__init__"])
def test_refuses_a_dotted_name_under_an_allowed_module(refused: Refused, attribute: str) -> None:
    refused(zip_checkpoint(pickled(call(stack_name("torch", attribute)), protocol=4)))
    refused(zip_checkpoint(pickled({"w": tensor(), "x": call(stack_name("torch", attribute))}, protocol=4)))


def test_refuses_a_dotted_path_to_builtins(refused: Refused) -> None:
    refused(zip_checkpoint(beside(stack_name("collections", "abc.sys.modules"))))


@pytest.mark.parametrize(
    ("opcodes", "says"),
    [
        pytest.param(name("m", "C") + b")}\x92", "NEWOBJ_EX (0x92)", id="newobj_ex"),
        pytest.param(b"\x82\x01", "EXT1 (0x82)", id="ext1"),
        pytest.param(b"\x83\x01\x00", "EXT2 (0x83)", id="ext2"),
        pytest.param(b"\x84\x01\x00\x00\x00", "EXT4 (0x84)", id="ext4"),
        pytest.param(b"\x97", "NEXT_BUFFER (0x97)", id="next_buffer"),
        pytest.param(b"N\x98", "READONLY_BUFFER (0x98)", id="readonly_buffer"),
        pytest.param(b"\xff", "opcode 0xff", id="no such opcode"),
    ],
)
def test_refuses_opcodes_that_no_checkpoint_has(refused: Refused, opcodes: bytes, says: str) -> None:
    refused(zip_checkpoint(beside(opcodes)), says, "byte")


@every_container
def test_refuses_persistent_ids_of_protocol_0(refused: Refused, container: Any) -> None:
    refused(container(b"(dX\x01\x00\x00\x00wP('storage', torch.FloatStorage, '0', 'cpu', 4)\ns."), "byte")


def test_build_never_shadows_the_methods_of_a_dict(survived: Any) -> None:
    shadows = {"items": 1, "keys": 2, "__class__": 3, "__dict__": 4, "_metadata": 5}
    survived(zip_checkpoint(pickled(build(ordered_dict({"w": tensor()}), shadows))))


@pytest.mark.parametrize(
    "thing",
    [
        pytest.param(name("collections", "OrderedDict"), id="class"),
        pytest.param(name("torch._utils", "_rebuild_tensor_v2"), id="function"),
        pytest.param(code([1]), id="list"),
        pytest.param(code("text"), id="text"),
        pytest.param(tensor(), id="tensor"),
        pytest.param(storage(), id="storage"),
    ],
)
def test_build_never_sets_attributes_of_what_is_real(survived: Any, marker: str, thing: Code) -> None:
    state = {"__code__": 1, "__defaults__": (creates(marker),), "__setstate__": SYSTEM[:0] + code("x"), "dtype": "int8"}
    survived(zip_checkpoint(beside(build(thing, state))))
    survived(zip_checkpoint(beside(build(thing, (None, state)))))
    survived(zip_checkpoint())  # and the next file is read as ever


@pytest.mark.parametrize("opcodes", [code("k") + code(1) + b"s", b"(" + code("k") + code(1) + b"u"], ids=["s", "u"])
def test_refuses_to_set_items_of_a_tensor(refused: Refused, opcodes: bytes) -> None:
    refused(zip_checkpoint(beside(tensor() + opcodes)), "byte")


@pytest.mark.parametrize(
    "opcodes", [code(1) + b"a", b"(" + code(1) + b"e", b"(" + code(1) + b"\x90"], ids=["a", "e", "add"]
)
@pytest.mark.parametrize("thing", [tensor(), code("text"), code({"k": 1}), code((1,)), storage(), Code(b"N")])
def test_refuses_to_append_to_what_is_no_list(refused: Refused, thing: Code, opcodes: bytes) -> None:
    refused(zip_checkpoint(beside(thing + opcodes)), "byte")


PLACES: list[tuple[str, Callable[[Code], bytes]]] = [
    ("storage class", lambda bad: pickled({"w": tensor(persistent("storage", bad, "0", "cpu", 4))})),
    ("storage key", lambda bad: pickled({"w": tensor(storage(key=bad))})),
    ("location", lambda bad: pickled({"w": tensor(storage(location=bad))})),
    ("count", lambda bad: pickled({"w": tensor(storage(numel=bad))})),
    ("offset", lambda bad: pickled({"w": tensor(offset=bad)})),
    ("size", lambda bad: pickled({"w": tensor(size=(bad,))})),
    ("stride", lambda bad: pickled({"w": tensor(stride=bad)})),
    ("tensor metadata", lambda bad: pickled({"w": tensor(metadata={"conj": bad})})),
    ("key of a dict", lambda bad: pickled({"w": tensor(), bad: 1})),
    ("state of an object", lambda bad: beside(build(ordered_dict(), {"a": bad}))),
    ("unknown object", lambda bad: beside(build(call(name("m", "C"), bad), bad))),
    ("function of a call", lambda bad: beside(call(bad, 1))),
    ("class of newobj", lambda bad: beside(Code(bad + b")\x81"))),
    ("popped", lambda bad: b"\x80\x02" + bad + b"0" + ordered_dict({"w": tensor()}) + b"."),
    ("popped with its mark", lambda bad: b"\x80\x02(" + bad + b"1" + ordered_dict({"w": tensor()}) + b"."),
    ("memo", lambda bad: b"\x80\x02" + put(bad, 7) + b"0" + ordered_dict({"w": tensor()}) + b"."),
    ("overwritten item", lambda bad: pickled(Code(code({"w": bad}) + code("w") + tensor() + b"s"))),
]


@pytest.mark.parametrize("place", [make for _, make in PLACES], ids=[where for where, _ in PLACES])
def test_refuses_code_wherever_it_hides(refused: Refused, marker: str, place: Callable[[Code], bytes]) -> None:
    refused(zip_checkpoint(place(call(EVAL, creates(marker)))), "builtins.eval", error=UnsafePickleError)


@pytest.mark.parametrize("place", [make for _, make in PLACES], ids=[where for where, _ in PLACES])
def test_survives_a_strange_object_wherever_it_stands(survived: Any, place: Callable[[Code], bytes]) -> None:
    survived(zip_checkpoint(place(call(name("strange", "Thing"), 1))))


@pytest.mark.parametrize("place", [make for _, make in PLACES], ids=[where for where, _ in PLACES])
@pytest.mark.parametrize("thing", [None, True, -1, 1.5, "text", b"bytes", (), (1,), [], {}, 2**70], ids=repr)
def test_survives_a_plain_value_wherever_it_stands(result: Any, place: Callable[[Code], bytes], thing: object) -> None:
    result(zip_checkpoint(place(code(thing))))


def test_refuses_code_in_the_small_pickles_of_a_legacy_stream(refused: Refused, marker: str) -> None:
    bad = call(EVAL, creates(marker))
    refused(legacy_checkpoint(little_endian=bad), "builtins.eval", error=UnsafePickleError)
    refused(legacy_checkpoint(keys=[bad]), "builtins.eval", error=UnsafePickleError)
    refused(legacy_checkpoint(version=bad))  # type: ignore[arg-type]


def test_refuses_code_in_a_torchscript_archive(refused: Refused, survived: Any, marker: str) -> None:
    bad = pickled(call(EVAL, creates(marker)))
    sources = Member("archive/code/__torch__.py", b"pass")
    survived(zip_checkpoint(extra=[sources, Member("archive/constants.pkl", bad)]))
    refused(zip_checkpoint(bad, extra=[sources, Member("archive/constants.pkl", pickled(()))]), error=UnsafePickleError)
