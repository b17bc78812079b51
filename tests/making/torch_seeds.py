"""What mutants for the comparison with torch start from: small files that `torch.save` writes, and parts for them.

Needs torch: only tests/oracle imports it. A file is taken apart into its pickles and storages, so that a mutant of a
pickle stands in a well-formed container. Keys of storages are numbered: torch derives them from addresses.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
import warnings
import zipfile
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from making.checkpoints import torch_members, zip_checkpoint
from making.mutants import Pool
from making.opcodes import Op, assembled, disassembled
from making.pickles import Code, build, call, code, get, name, ordered_dict, persistent, storage, tensor
from making.seeds import PICKLES, SEEDS, STORAGES
from making.zips import zip_archive


@dataclass(frozen=True)
class Parts:
    """A checkpoint taken apart.

    A zip has one pickle and its storages. A legacy stream has five pickles (magic number, protocol, system, object,
    keys) and what follows them. A plain pickle has neither.
    """

    container: str
    pickles: tuple[bytes, ...]
    storages: dict[str, bytes] = field(default_factory=dict)
    tail: bytes = b""
    byteorder: str = "little"

    @property
    def object(self) -> int:
        """Which of the pickles is the object."""
        return 3 if self.container == "legacy" else 0

    def changed(self, at: int, content: bytes) -> Parts:
        """Return the parts with another pickle."""
        return replace(self, pickles=(*self.pickles[:at], content, *self.pickles[at + 1 :]))

    def file(self) -> bytes:
        """Put the file together."""
        if self.container == "legacy":
            return b"".join(self.pickles) + self.tail
        return zip_checkpoint(self.pickles[0], self.storages, byteorder=self.byteorder)

    def members(self) -> list[Any]:
        """Return the members of a zip, to be bent."""
        return torch_members(self.pickles[0], self.storages, byteorder=self.byteorder)


def archive(members: list[Any]) -> bytes:
    """Write the members of a zip."""
    return zip_archive(members)


# ------------------------------------------------------------------------------------- what torch saves


def saved_objects() -> dict[str, Any]:
    """Return small objects of the kinds that people save."""
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    tied = torch.tensor([1.5, -2.0])
    complex_ = torch.tensor([1 + 2j, 3 - 4j])
    metadata = collections.OrderedDict(w=torch.ones(2))
    metadata._metadata = collections.OrderedDict({"": {"version": 1}})  # type: ignore[attr-defined]
    parameter = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    with_state = torch.nn.Parameter(torch.tensor([3.0]))
    with_state.note = "kept"
    return {
        "views": {"t": base.t(), "step": base[:, ::2], "row": base[1], "all": base, "wide": tied.expand(2, 2)},
        "ties": collections.OrderedDict(a=tied, b=tied, c=tied.view(1, 2), d=tied.clone()),
        "dtypes": {
            "bool": torch.tensor([True, False]),
            "bf16": torch.tensor([1.0, -2.0], dtype=torch.bfloat16),
            "i64": torch.tensor([[1, -2]]),
            "u16": torch.tensor([1, 65535], dtype=torch.uint16),
            "f8": torch.tensor([1.0, -2.0]).to(torch.float8_e4m3fn),
            "half": torch.tensor(0.5, dtype=torch.float16),
            "none": torch.empty(0, 3),
        },
        "bits": {
            "plain": complex_,
            "conj": complex_.conj(),
            "neg": torch._neg_view(torch.tensor([1.0, -2.0])),
        },
        "parameters": {"p": parameter, "s": with_state, "frozen": torch.nn.Parameter(tied, requires_grad=False)},
        "metadata": metadata,
        "training": {
            "model": collections.OrderedDict(w=tied),
            "optimizer": {"state": {0: {"step": torch.tensor(3.0), "m": tied}}, "param_groups": [{"lr": 0.1}]},
            "epoch": 3,
            "sets": {1, 2, 3},
            "bytes": b"\0\xff",
            "array": bytearray(b"ab"),
            "complex": 1 + 2j,
            "size": torch.Size([1, 2]),
            "device": torch.device("cpu"),
            "dtype": torch.float32,
            "counter": collections.Counter("aab"),
            "big": [2**40, -(2**70), 1e300, None, True, "text", ()],
        },
        "others": {
            "q": torch.quantize_per_tensor(torch.tensor([1.0, 2.0]), 0.5, 0, torch.qint8),
            "sparse": torch.tensor([[0.0, 1.0]]).to_sparse(),
            "meta": torch.empty(2, device="meta"),
            "w": tied,
        },
        "numpy": {
            "scalar": np.float64(0.5),
            "array": np.arange(4, dtype=np.int16).reshape(2, 2),
            "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            "deque": collections.deque([1, 2], maxlen=3),
            "default": collections.defaultdict(list, a=[1]),
            "w": tied,
        },
        "linear": torch.nn.Linear(2, 1).state_dict(),
    }


def _saved(value: Any, protocol: int, *, new: bool) -> bytes:
    out = io.BytesIO()
    torch.save(value, out, pickle_protocol=protocol, _use_new_zipfile_serialization=new)
    return out.getvalue()


def zip_parts(data: bytes) -> Parts:
    """Take a zip checkpoint apart."""
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        contents = {member.partition("/")[2]: opened.read(member) for member in opened.namelist()}
    storages = {key.removeprefix("data/"): value for key, value in contents.items() if key.startswith("data/")}
    return Parts("zip", (contents["data.pkl"],), storages, byteorder=contents.get("byteorder", b"little").decode())


def legacy_parts(data: bytes) -> Parts:
    """Take a legacy stream apart, and number its storages."""
    pickles, position = [], 0
    for _ in range(5):
        length = len(assembled(disassembled(data[position:])))
        pickles.append(data[position : position + length])
        position += length
    keys = pickle.loads(pickles[4])
    for number, key in enumerate(keys):
        pickles = [*pickles[:3], *(_renamed(content, key, str(number)) for content in pickles[3:])]
    return Parts("legacy", tuple(pickles), tail=data[position:])


def _renamed(data: bytes, old: str, new: str) -> bytes:
    """Rename a storage wherever a pickle names it; FRAME is left out, because the length changes."""
    forms = {"BINUNICODE": "<I", "SHORT_BINUNICODE": "<B"}
    found = []
    for op in disassembled(data):
        form = forms.get(op.name)
        if form and op.argument[struct.calcsize(form) :] == old.encode():
            found.append(Op(op.code, struct.pack(form, len(new)) + new.encode()))
        elif op.name != "FRAME":
            found.append(op)
    return assembled(found)


def checkpoint_seeds() -> dict[str, list[Parts]]:
    """Return what mutants start from, by container."""
    zips: list[Parts] = []
    legacies: list[Parts] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantised tensors are deprecated
        _save_all(zips, legacies)
    zips += [Parts("zip", (PICKLES[kind],), dict(STORAGES)) for kind in ("tensors", "nested")]
    big = torch.arange(4, dtype=torch.int32)
    zips.append(replace(zip_parts(_saved({"w": big}, 2, new=True)), byteorder="big"))
    legacies += [legacy_parts(data) for data in SEEDS["legacy"]]
    return {"zip": zips, "legacy": legacies, "plain": plain_seeds()}


def _save_all(zips: list[Parts], legacies: list[Parts]) -> None:
    for label, value in saved_objects().items():
        for protocol in (2, 2, 3, 4, 5) if label in ("training", "numpy") else (2,):
            zips.append(zip_parts(_saved(value, protocol, new=True)))
            if label not in ("dtypes", "numpy"):  # float8 has no place there
                legacies.append(legacy_parts(_saved(value, protocol, new=False)))


# ------------------------------------------------------------------------------------- plain values

PLAIN_OBJECTS: list[Any] = [
    {"a": [1, 2, 1], "b": (1.5, None, True), "c": "text \u00e9 \ud800", "d": {1: {2: "x"}},
     "e": [-1, 70_000, 2**40, -(2**70)]},
    {"s": {1, 2}, "f": frozenset({3}), "by": b"\0\xff", "ba": bytearray(b"ab"), "c": 1 + 2j, "t": (1, 2, 3, 4)},
    [collections.OrderedDict(a=1), collections.Counter("aab"), collections.deque([1, 2, 3], 3)],
    [collections.deque([1, 2]), collections.defaultdict(list, {"k": [1]}), {}, [], (), set(), frozenset()],
    [np.float64(0.5), np.int32(-3), np.bool_(True), np.complex64(1j), np.dtype("<f4"), np.float16(1)],
    [np.arange(4, dtype=">i2"), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.zeros((0, 2)),
     np.float32(2).reshape(())],
    [0.1, float("inf"), float("nan"), -0.0, 1e-300, "", b"", "a\nb", "\\u0041", 255, 256, 65536, -129],
]  # fmt: skip


def plain_seeds() -> list[Parts]:
    """Return pickles without tensors, of every protocol."""
    return [Parts("plain", (pickle.dumps(value, protocol),)) for value in PLAIN_OBJECTS for protocol in range(6)]


# ------------------------------------------------------------------------------------- parts

PLAIN_NAMES = [
    ("collections", "OrderedDict"), ("collections", "Counter"), ("collections", "deque"),
    ("collections", "defaultdict"), ("builtins", "set"), ("builtins", "frozenset"), ("builtins", "list"),
    ("builtins", "dict"), ("builtins", "tuple"), ("builtins", "bytes"), ("builtins", "bytearray"),
    ("builtins", "complex"), ("builtins", "object"), ("builtins", "int"), ("__builtin__", "set"),
    ("_codecs", "encode"), ("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"), ("numpy", "dtype"),
    ("numpy", "ndarray"), ("numpy._core.multiarray", "scalar"), ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"), ("mynet", "Thing"), ("argparse", "Namespace"),
]  # fmt: skip

TORCH_NAMES = [
    *(("torch._utils", f"_rebuild_{kind}") for kind in (
        "tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state", "qtensor", "sparse_tensor",
        "meta_tensor_no_storage", "nested_tensor", "wrapper_subclass", "device_tensor_from_numpy",
        "device_tensor_from_cpu_tensor",
    )),
    ("torch._tensor", "_rebuild_from_type_v2"), ("torch.serialization", "_get_layout"),
    ("torch.nn.parameter", "Parameter"), ("torch", "Size"), ("torch", "Tensor"), ("torch", "device"),
    ("torch", "FloatTensor"), ("torch.storage", "UntypedStorage"), ("torch.storage", "TypedStorage"),
    *(("torch", f"{kind}Storage") for kind in (
        "Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool", "ComplexFloat",
        "ComplexDouble", "QInt8", "QUInt8", "QInt32", "QUInt4x2", "Untyped",
    )),
    ("torch.cuda", "FloatStorage"), ("evil", "FloatStorage"),
    *(("torch", kind) for kind in (
        "float32", "float64", "float16", "bfloat16", "int8", "uint8", "int32", "int64", "bool", "complex64", "uint16",
        "uint64", "float8_e4m3fn", "float8_e8m0fnu", "complex32", "qint8", "uint1", "per_tensor_affine",
    )),
]  # fmt: skip


def _empty(module: str, kind: str, *arguments: object) -> Code:
    return Code(name(module, kind) + code(arguments) + b"\x81")


_SCALAR = call(name("numpy", "dtype"), "f8", False, True)
PLAIN_VALUES: list[Code] = [
    *map(code, (
        None, True, False, 0, 1, 2, -1, 4, 1.5, "a", "", "neg", "conj", 1 << 40, (), (1,), (1, 2), (0, 2), (2, 1), [],
        [1, 2], {}, {"a": 1}, {"neg": True}, {"neg": False}, {"conj": None}, {"conj": 0, "neg": 0}, {"items": 1},
        (None, {}), (None, {"x": 1}), ({}, {}), [("a", 1)], [["a", 1]],
            [[1, 2], [1]], ("a", 1), {1: 2}, "ab", (4,), (1.0, 2.0), "latin1", "utf-8",
    )),
    ordered_dict(), ordered_dict({"a": 1}),
    call(name("collections", "OrderedDict"), [("a", 1)]), call(name("collections", "OrderedDict"), {"a": 1}),
    call(name("collections", "Counter"), {"a": 2}), call(name("collections", "Counter"), ["a", "a"]),
    call(name("collections", "deque"), [1, 2, 3], 2), call(name("builtins", "set"), [1, 2]),
    call(name("builtins", "bytearray"), "a", "latin-1"), call(name("builtins", "complex"), 1.0, 2.0),
    call(name("_codecs", "encode"), "\xff", "latin1"), call(name("builtins", "frozenset"), [1]),
    *(_empty("collections", kind, *given) for kind in ("OrderedDict", "Counter")
      for given in ((), ([("a", 1)],), ({"a": 1},))),
    *(_empty("builtins", kind, *given) for kind in ("set", "bytearray", "complex")
      for given in ((), ([1, 2],), (b"a",), (1.0, 2.0))),
    build(_SCALAR, (3, "<", None, None, None, -1, -1, 0)), build(_SCALAR, (3, ">", None, None, None, -1, -1, 0)),
    call(name("numpy._core.multiarray", "scalar"), build(_SCALAR, (3, "<", None, None, None, -1, -1, 0)), b"12345678"),
    get(0), get(1), get(3),
]  # fmt: skip

TORCH_VALUES: list[Code] = [
    tensor(), tensor(size=(2, 2), stride=(1, 2)), tensor(metadata={"neg": False}), tensor(metadata={"conj": True}),
    tensor(metadata=ordered_dict()), tensor(offset=1, size=(), stride=()), tensor(size=(2, 3), stride=(0, 0)),
    storage(),
    storage(kind="UntypedStorage", module="torch.storage", numel=16), storage(kind="DoubleStorage", numel=2),
    storage(numel=3), storage("1", 2, "LongStorage"), tensor(storage("1", 2, "LongStorage"), size=(2,)),
    persistent("storage", name("torch", "FloatStorage"), "0", "cpu", 4, None),
    persistent("storage", name("torch", "FloatStorage"), "0", "cpu", 4, ("9", 1, 2)),
    persistent("storage", name("torch", "FloatStorage"), 0, "cpu", 4),
    call(name("torch._utils", "_rebuild_parameter"), tensor(), True, ordered_dict()),
    call(name("torch._utils", "_rebuild_parameter_with_state"), tensor(), True, ordered_dict(), {"note": 1}),
    call(name("torch._tensor", "_rebuild_from_type_v2"), name("torch._utils", "_rebuild_tensor_v2"),
         name("torch.nn.parameter", "Parameter"), (storage(), 0, (4,), (1,), False, ordered_dict()), {}),
    call(name("torch.nn.parameter", "Parameter"), tensor()), _empty("torch.nn.parameter", "Parameter"),
    Code(name("torch.nn.parameter", "Parameter") + code((tensor(), True)) + b"\x81"),
    call(name("torch", "Size"), (1, 2)), _empty("torch", "Size", (1, 2)), call(name("torch", "device"), "cpu"),
    call(name("torch", "Tensor")), _empty("torch", "Tensor"), call(name("torch", "FloatTensor")),
    code((storage(), 0, (2,), (1,))), code((tensor(), True, ordered_dict())),
    call(name("torch.serialization", "_get_layout"), "torch.strided"),
]  # fmt: skip


def _globals(names: list[tuple[str, str]]) -> list[bytes]:
    return [f"{module}\n{kind}\n".encode() for module, kind in names]


def pools(seeds: dict[str, list[Parts]]) -> dict[str, Pool]:
    """Return what the mutants of each container take in."""

    def pool(container: str, values: list[Code], names: list[tuple[str, str]]) -> Pool:
        pickles = [disassembled(parts.pickles[parts.object])[:-1] for parts in seeds[container]]
        singles = [disassembled(value + b".")[:-1] for value in values]
        singles += [[Op(b"c", argument)] for argument in _globals(names)]
        return Pool(pickles, singles, _globals(names))

    both, every = [*PLAIN_VALUES, *TORCH_VALUES], [*PLAIN_NAMES, *TORCH_NAMES]
    return {
        "zip": pool("zip", both, every),
        "legacy": pool("legacy", both, every),
        "plain": pool("plain", PLAIN_VALUES, PLAIN_NAMES),
    }
