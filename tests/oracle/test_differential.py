"""Equal to torch or refused, as a law: mutants of what torch saves, opened here and there.

The law is in `looking.differential`, the mutants in `run_differential.py`, which runs as long as one likes by hand.
Here it runs a fixed number of mutants of a fixed seed. They run in a process of their own, because a mutant can bring
torch down.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch")

from looking.differential import (  # noqa: E402
    BOTH,
    EQUAL,
    HERE,
    NAMES,
    THERE,
    VALUES,
    against_python,
    against_torch,
)
from making.checkpoints import legacy_checkpoint, zip_checkpoint  # noqa: E402
from making.opcodes import assembled, disassembled, expressions  # noqa: E402
from making.pickles import (  # noqa: E402
    Code,
    build,
    call,
    code,
    name,
    ordered_dict,
    persistent,
    pickled,
    storage,
    tensor,
)
from making.torch_seeds import checkpoint_seeds  # noqa: E402
from making.values import FLOATS  # noqa: E402

if TYPE_CHECKING:
    from types import ModuleType

SEED = 7
CASES = {"in short": 3_000, "at length": 18_000}  # some 10 and 90 seconds on one core


def _runner() -> ModuleType:
    """Import the script beside this file: the folder is no package."""
    spec = importlib.util.spec_from_file_location("run_differential", Path(__file__).with_name("run_differential.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("length", ["in short", pytest.param("at length", marks=pytest.mark.slow)])
def test_no_mutant_opens_with_other_values_than_in_torch(tmp_path: Path, length: str) -> None:
    differences = _runner().run(SEED, 0, CASES[length], float("inf"), tmp_path / "differences")
    assert differences == []


SEEDS = [(container, at, parts) for container, group in checkpoint_seeds().items() for at, parts in enumerate(group)]


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"{seed[0]}-{seed[1]}")
def test_opens_what_the_mutants_come_from_as_torch_does(tmp_path: Path, seed: tuple[str, int, Any]) -> None:
    container, _, parts = seed
    path = tmp_path / "model.pt"
    if container == "plain":
        found = against_python(parts.file(), parts.pickles[0], path)
    else:
        found = against_torch(parts.file(), path)
    assert not found.is_difference, found
    assert found.verdict in (EQUAL, NAMES, HERE, BOTH), found


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"{seed[0]}-{seed[1]}")
def test_takes_the_pickles_apart_and_puts_them_together(seed: tuple[str, int, Any]) -> None:
    for content in seed[2].pickles:
        ops = disassembled(content)
        assert assembled(ops) == content
        assert expressions(ops[:-1])[-1][1] == len(ops) - 1


# ------------------------------------------------------------------------------------- the law tells apart


def test_the_same_values_are_equal(tmp_path: Path) -> None:
    assert against_torch(zip_checkpoint(), tmp_path / "a.pt").verdict == EQUAL
    assert against_torch(legacy_checkpoint(), tmp_path / "b.pt").verdict == EQUAL


def test_an_unlisted_class_is_no_difference(tmp_path: Path) -> None:
    thing = {"w": tensor(), "x": call(name("mynet", "Thing"), 1)}
    assert against_torch(zip_checkpoint(pickled(thing)), tmp_path / "m.pt").verdict == NAMES


def test_an_unlisted_class_excuses_nothing_else(tmp_path: Path) -> None:
    """torch stops at the class, before it sees that a state is given to a number."""
    thing = {"w": tensor(), "x": call(name("mynet", "Thing"), 1), "y": Code(code(1) + b"0" + b"R")}
    assert against_torch(zip_checkpoint(pickled(thing)), tmp_path / "m.pt").verdict == BOTH


def test_other_opcodes_than_those_of_protocol_2_are_no_difference(tmp_path: Path) -> None:
    thing = Code(b"}\x8c\x01w" + tensor() + b"s")
    assert against_torch(zip_checkpoint(pickled(thing, 4)), tmp_path / "m.pt").verdict == NAMES


def test_other_values_are_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lying = {"w": torch.tensor([1.0, 2.0, 3.0, 5.0])}
    monkeypatch.setattr(torch, "load", lambda *_, **__: lying)
    assert against_torch(zip_checkpoint(), tmp_path / "m.pt").verdict == VALUES


def test_opening_what_torch_refuses_is_a_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("malformed")

    monkeypatch.setattr(torch, "load", refuse)
    assert against_torch(zip_checkpoint(), tmp_path / "m.pt").verdict == THERE


# ------------------------------------------------------------------------------------- found before

ORDERED = name("collections", "OrderedDict")
HOOKS = call(ORDERED)
V2 = name("torch._utils", "_rebuild_tensor_v2")
_NUMPY_STATE = (3, "<", None, None, None, -1, -1, 0)


def _made(module: str, kind: str, *arguments: object) -> Code:
    """Make an object with NEWOBJ."""
    return Code(name(module, kind) + code(arguments) + b"\x81")


def _v2(requires_grad: object = False, metadata: object = None, kind: str = "FloatStorage") -> Code:
    return call(V2, storage(kind=kind), 0, (4,), (1,), requires_grad, HOOKS, metadata)


OF_TORCH = {
    # BUILD
    "state of a tensor": build(tensor(), (storage(), 0, (2,), (1,))),
    "state of a parameter": build(call(name("torch.nn.parameter", "Parameter"), tensor()), (tensor(), True, {})),
    "state of a storage": build(storage(), "a"),
    "state of a dict": build(code({}), {"a": 1}),
    "state of a list": build(code([]), {"a": 1}),
    "state of a tuple": build(code((1,)), {"a": 1}),
    "state of a size": build(call(name("torch", "Size"), (1,)), {"a": 1}),
    "state of an OrderedDict that is a number": build(HOOKS, 1),
    "state of an OrderedDict that is a list": build(HOOKS, [1]),
    "state of an OrderedDict that is a class": build(HOOKS, ORDERED),
    "state of a device": build(call(name("torch", "device"), "cpu"), {"a": 1}),
    # NEWOBJ
    "OrderedDict made with items": _made("collections", "OrderedDict", [("a", 1)]),
    "Counter made with items": _made("collections", "Counter", {"a": 1}),
    "set made with items": _made("builtins", "set", [1]),
    "bytearray made with items": _made("builtins", "bytearray", b"a"),
    "function that is made": _made("torch._utils", "_rebuild_tensor_v2", storage(), 0, (4,), (1,), False, HOOKS),
    "function of bytes that is made": _made("_codecs", "encode", "a", "latin1"),
    "dtype that is made": _made("torch", "float32"),
    "storage that is made": _made("torch", "FloatStorage"),
    # REDUCE
    "dtype that is called": call(name("torch", "float32")),
    "storage that is called": call(name("torch", "FloatStorage")),
    "qscheme that is called": call(name("torch", "per_tensor_affine")),
    "untyped storage of nonsense": call(name("torch.storage", "UntypedStorage"), {"a": 1}),
    "typed storage of nonsense": call(name("torch.storage", "TypedStorage"), "a"),
    "tensor of nonsense": call(name("torch", "Tensor"), {"a": 1}),
    "typed tensor of nonsense": call(name("torch", "FloatTensor"), {"a": 1}),
    "device without a name": call(name("torch", "device")),
    "device of nonsense": call(name("torch", "device"), "nonsense"),
    "device of a tuple": call(name("torch", "device"), (1,)),
    "layout without a name": call(name("torch.serialization", "_get_layout")),
    "layout of nonsense": call(name("torch.serialization", "_get_layout"), "nonsense"),
    "size of two arguments": call(name("torch", "Size"), (1,), (2,)),
    "keys that are set in a storage": Code(call(name("torch.storage", "TypedStorage")) + code("a") + code(1) + b"s"),
    # tensors
    "neg is there": tensor(metadata={"neg": False}),
    "conj is there": call(V2, storage("2", 2, "ComplexFloatStorage"), 0, (2,), (1,), False, HOOKS, {"conj": False}),
    "metadata that is text": _v2(metadata="neg"),
    "metadata that is an OrderedDict": _v2(metadata=ordered_dict({"neg": True})),
    "metadata of other values": _v2(metadata={"neg": None}),
    "metadata of other keys": _v2(metadata={1: True}),
    "metadata that is a tensor": _v2(metadata=call(name("torch", "FloatTensor"))),
    "requires_grad that is None": _v2(requires_grad=None),
    "requires_grad of whole numbers": call(V2, storage("1", 2, "LongStorage"), 0, (2,), (1,), True, HOOKS),
    "storage of six parts": tensor(persistent("storage", name("torch", "FloatStorage"), "0", "cpu", 4, None)),
    "parameter of two arguments": call(name("torch._utils", "_rebuild_parameter"), tensor(), True),
    "parameter of four arguments": call(name("torch._utils", "_rebuild_parameter"), tensor(), True, HOOKS, 1),
    "parameter that requires a dict": call(name("torch._utils", "_rebuild_parameter"), tensor(), {}, HOOKS),
    "parameter with a number": call(name("torch._utils", "_rebuild_parameter_with_state"), tensor(), True, HOOKS, 1),
    "parameter without a state": call(name("torch._utils", "_rebuild_parameter_with_state"), tensor(), True, HOOKS),
    # containers
    "bytearray as a key": Code(code({}) + call(name("builtins", "bytearray"), b"a") + code(1) + b"s"),
    "Counter of pairs": call(name("collections", "Counter"), [["a", 1]]),
    "location that is no text": tensor(persistent("storage", name("torch", "FloatStorage"), "2", b"\xff", 4)),
    "missing storage of a tensor that is dropped": Code(code(1) + tensor(storage("9")) + b"0"),
    "missing storage in the state of an OrderedDict": build(HOOKS, {"a": tensor(storage("9"))}),
    "set of OrderedDicts": call(name("builtins", "set"), [HOOKS]),
}  # fmt: skip


@pytest.mark.parametrize("kind", OF_TORCH)
def test_equals_torch_or_refuses(tmp_path: Path, kind: str) -> None:
    storages = {"0": FLOATS, "1": bytes(16), "2": FLOATS}
    data = zip_checkpoint(pickled({"w": tensor(), "x": OF_TORCH[kind]}), storages)
    found = against_torch(data, tmp_path / "m.pt")
    assert not found.is_difference, found


MEMBERS: dict[str, dict[str, dict[str, Any]]] = {
    "version 9999": {"version": {"data": b"9999"}},
    "version 0": {"version": {"data": b"0"}},
    "version of nothing": {"version": {"data": b""}},
    "version of nonsense": {"version": {"data": b"x"}},
    "version elsewhere": {"version": {"name": "archive/x/version"}},
    "alignment of nonsense": {".storage_alignment": {"data": b"x"}},
    "byte order in capitals": {"byteorder": {"name": "archive/BYTEORDER", "data": b"big"}},
    "storage in capitals": {"data/0": {"name": "archive/DATA/0"}},
    "identification that is no text": {".data/serialization_id": {"data": b"\xff" * 40}},
    "damaged version": {"version": {"crc": 1}},
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_equals_torch_or_refuses_where_members_are_bent(tmp_path: Path, kind: str) -> None:
    found = against_torch(zip_checkpoint(change=MEMBERS[kind]), tmp_path / "m.pt")
    assert not found.is_difference, found


LEGACY = {
    "storage of five parts": {"w": tensor(storage())},
    "storages whose keys are a number and the same as text": {
        "w": tensor(persistent("storage", name("torch", "FloatStorage"), "0", "cpu", 4, None)),
        "x": tensor(persistent("storage", name("torch", "FloatStorage"), 0, "cpu", 4, None)),
    },
    "storage whose key is a number": {
        "w": tensor(persistent("storage", name("torch", "FloatStorage"), 0, "cpu", 4, None))
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", LEGACY)
def test_equals_torch_or_refuses_a_legacy_stream(tmp_path: Path, kind: str) -> None:
    found = against_torch(legacy_checkpoint(pickled(LEGACY[kind])), tmp_path / "m.pt")
    assert not found.is_difference, found


def _dtype(*arguments: object, state: object = _NUMPY_STATE) -> Code:
    return build(call(name("numpy", "dtype"), *arguments), state)


def _array(fortran: object = False, *arguments: object) -> Code:
    """Pickle a numpy array of 2 x 2 with this flag, and these arguments in the place of the usual ones."""
    usual = (name("numpy", "ndarray"), (0,), b"b")
    empty = call(name("numpy._core.multiarray", "_reconstruct"), *(arguments or usual))
    return build(empty, (1, (2, 2), _dtype("f4", False, True), fortran, FLOATS))


def _frombuffer(*arguments: object) -> bytes:
    return pickled(call(name("numpy._core.numeric", "_frombuffer"), *arguments))


_SCALAR = name("numpy._core.multiarray", "scalar")
_SLOT = Code(call(name("numpy", "dtype"), "f4", False, True) + b"q\x01K\x05q\x010")  # then slot 1 holds 5
OF_PYTHON = {
    "float of 310 characters": b"F0." + b"0" * 309 + b"1e300\n.",
    "escape of text in a string": b"S'\\u0041'\n.",
    "integer with an L": b"I1L\n.",
    "integer in base 16": b"I0x10\n.",
    "slot of the memo that is written twice": b"\x80\x02" + build(_SLOT, _NUMPY_STATE) + b"0h\x01.",
    "maximal length of a deque": pickled(call(name("collections", "deque"), [1, 2, 3], 2)),
    "maximal length of text": pickled(call(name("collections", "deque"), [1, 2, 3], "a")),
    "deque of three arguments": pickled(call(name("collections", "deque"), [1], 2, 3)),
    "appended to a deque of two": b"\x80\x02" + call(name("collections", "deque"), (), 2) + b"(K\x01K\x02K\x03e.",
    "Counter of a list": pickled(call(name("collections", "Counter"), ["a", "a"])),
    "defaultdict of a number": pickled(call(name("collections", "defaultdict"), 1)),
    "set that is appended to": pickled(Code(call(name("builtins", "set"), []) + code(1) + b"a")),
    "list that is added to": b"\x80\x04](K\x01\x90.",
    "fortran flag 2": pickled(_array(2)),
    "array made of nothing": pickled(_array(False, 1)),
    "array made of another class": pickled(_array(False, ORDERED, (0,), b"b")),
    "array of another version": pickled(_array(False, name("numpy", "ndarray"), (0,), b"O")),
    "buffer in another order": _frombuffer(FLOATS, _dtype("f4", False, True), (2, 2), "x"),
    "buffer in Fortran's order": _frombuffer(FLOATS, _dtype("f4", False, True), (2, 2), "F"),
    "buffer of text": _frombuffer("a" * 16, _dtype("f4", False, True), (2, 2), "C"),
    "dtype with a subarray": pickled(_dtype("f4", False, True, state=(3, "<", (1, (2,)), None, None, -1, -1, 0))),
    "dtype with flags": pickled(_dtype("f4", False, True, state=(3, "<", None, None, None, -1, -1, 5))),
    "dtype of version 9": pickled(_dtype("f4", False, True, state=(9, "<", None, None, None, -1, -1, 0))),
    "dtype of a short state": pickled(_dtype("f4", False, True, state=(3, "<"))),
    "dtype of an unknown order": pickled(_dtype("f4", False, True, state=(3, "x", None, None, None, -1, -1, 0))),
    "dtype without arguments": pickled(_dtype(state=_NUMPY_STATE)),
    "dtype that aligns text": pickled(_dtype("f4", "a", True)),
    "scalar of text": pickled(call(_SCALAR, _dtype("f4", False, True), "abcd")),
    "scalar of latin-1": pickled(call(_SCALAR, _dtype("f2", False, True), "\xff")),
    "scalar of three arguments": pickled(call(_SCALAR, _dtype("f4", False, True), b"abcd", 1)),
    "bool scalar of 2": pickled(call(_SCALAR, _dtype("b1", False, True), b"\2")),
    "bytearray as a key": pickled(Code(code({}) + call(name("builtins", "bytearray"), [97]) + code(1) + b"s")),
    "state of a Counter": pickled(build(call(name("collections", "Counter")), (None, True))),
    "object of no class": pickled(call(name("copyreg", "_reconstructor"), ORDERED, name("builtins", "object"), None)),
    "text in an unknown encoding": pickled(call(name("_codecs", "encode"), "a", "ascii")),
    "bytes of text": pickled(call(name("builtins", "bytes"), "a", "latin1")),
    "bytearray of a number": pickled(call(name("builtins", "bytearray"), "a", 1)),
    "bytes with a second argument": pickled(call(name("builtins", "bytearray"), b"a", "latin1")),
}  # fmt: skip


@pytest.mark.parametrize("kind", OF_PYTHON)
def test_equals_python_or_refuses(tmp_path: Path, kind: str) -> None:
    found = against_python(zip_checkpoint(OF_PYTHON[kind]), OF_PYTHON[kind], tmp_path / "m.pt")
    assert not found.is_difference, found
