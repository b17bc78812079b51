"""Small well-formed checkpoints of every kind, rich in opcodes and fields: what mutations and the fuzzer start from."""

from __future__ import annotations

import pickle
import struct
from dataclasses import replace
from typing import Any

from making.checkpoints import (
    exported,
    legacy_checkpoint,
    python2_checkpoint,
    safetensors,
    tar_checkpoint,
    tar_storages,
    tar_tensors,
    torch_members,
    zip_checkpoint,
)
from making.pickles import (
    Code,
    build,
    call,
    get,
    legacy_storage,
    name,
    ordered_dict,
    pickled,
    put,
    stack_name,
    state_dict,
    storage,
    tensor,
)
from making.values import FLOATS
from making.zips import Member, zip_archive

HOOKS = ordered_dict()


def _parameter(of: Code, *, requires_grad: bool = True) -> Code:
    return call(name("torch._utils", "_rebuild_parameter"), of, requires_grad, HOOKS)


def _untyped(dtype: str, numel: int) -> Code:
    of = storage("2", 16, "UntypedStorage", module="torch.storage")
    return call(name("torch._utils", "_rebuild_tensor_v3"), of, 0, (numel,), (1,), False, HOOKS, name("torch", dtype))


def _numpy_scalar(value: float) -> Code:
    state = (3, "<", None, None, None, -1, -1, 0)
    dtype = build(call(name("numpy", "dtype"), "f8", False, True), state)
    return call(name("numpy._core.multiarray", "scalar"), dtype, _bytes(struct.pack("<d", value)))


def _numpy_array(data: bytes) -> Code:
    empty = call(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray"), (0,), _bytes(b"b"))
    dtype = build(call(name("numpy", "dtype"), "i2", False, True), (3, ">", None, None, None, -1, -1, 0))
    return build(empty, (1, (2, len(data) // 4), dtype, False, _bytes(data)))


def _bytes(data: bytes) -> Code:
    return call(name("_codecs", "encode"), data.decode("latin-1"), "latin1")


def _quantised() -> Code:
    parameters = (name("torch", "per_tensor_affine"), 0.5, 0)
    of = storage("3", 16, "QInt8Storage")
    return call(name("torch._utils", "_rebuild_qtensor"), of, 0, (16,), (1,), parameters, False, HOOKS)


def _sparse() -> Code:
    layout = call(name("torch.serialization", "_get_layout"), "torch.sparse_coo")
    indices = tensor(storage("1", 2, "LongStorage"), size=(1, 2), stride=(2, 1))
    data = (indices, tensor(size=(2,)), call(name("torch", "Size"), (4,)))
    return call(name("torch._utils", "_rebuild_sparse_tensor"), layout, data)


def tensors() -> bytes:
    """Pickle tensors of every kind over four storages, with views and ties."""
    weight = put(tensor(), 100)
    items = {
        "w": weight,
        "tied": get(100),
        "t": tensor(size=(2, 2), stride=(1, 2)),
        "e": tensor(offset=3, size=(3, 2), stride=(0, 0)),
        "s": tensor(offset=1, size=(), stride=()),
        "n": tensor(metadata={"neg": True}),
        "p": _parameter(tensor(storage("1", 2, "LongStorage"), size=(2,)), requires_grad=False),
        "h": _untyped("float8_e4m3fn", 16),
        "u": _untyped("uint16", 8),
        "q": _quantised(),
        "sparse": _sparse(),
    }
    return pickled(build(ordered_dict(items), {"_metadata": ordered_dict({"": {"version": 1}})}))


def nested() -> bytes:
    """Pickle a training checkpoint: nests, numbers, foreign objects."""
    optimizer = {
        "state": {0: {"step": tensor(size=(1,)), "exp_avg": tensor()}},
        "param_groups": [{"lr": 0.1, "params": [0]}],
    }
    arguments = build(Code(name("argparse", "Namespace") + b")\x81"), {"lr": 1e-3, "names": ["a", None, True, 2**70]})
    more = {
        "opt": optimizer,
        "args": arguments,
        "path": call(name("pathlib", "PosixPath"), "a", "b"),
        "lr": _numpy_scalar(0.5),
        "rng": _numpy_array(b"\0\1\0\2\0\3\0\4"),
        "dtype": name("torch", "float32"),
        "device": call(name("torch", "device"), "cuda", 0),
        "size": call(name("torch", "Size"), (1, 2)),
        "sets": call(name("__builtin__", "set"), [1, 2]),
        "complex": call(name("__builtin__", "complex"), 1.0, 2.0),
        "thing": call(name("mynet", "Thing"), "x", (1,), {"k": tensor()}),
        "counter": call(name("collections", "Counter"), {"a": 1}),
    }
    return pickled({"state_dict": ordered_dict({"w": tensor()}), "epoch": 3, **more})


def module() -> bytes:
    """Pickle a whole model: objects with `_parameters`, `_buffers` and `_modules`."""
    blank = {"training": True, "_parameters": ordered_dict(), "_buffers": ordered_dict(), "_modules": ordered_dict()}
    parameters = ordered_dict({"weight": _parameter(tensor()), "bias": None})
    linear = build(
        Code(stack_name("torch.nn.modules.linear", "Linear") + b")\x81"), blank | {"_parameters": parameters}
    )
    net = build(Code(name("mynet", "Net") + b")\x81"), blank | {"_modules": ordered_dict({"fc": linear})})
    return pickled(net, 4)


def plain(protocol: int) -> bytes:
    """Let Python's own pickler write plain values: all opcodes of a protocol."""
    shared = ["again", 2**40]
    value = {
        "a": [shared, shared, -1, 70_000],
        "b": {"x": (1, 2.5, None)},
        "c": b"bytes",
        "s": {1},
        "f": frozenset({2}),
    }
    return pickle.dumps(value, protocol)


STORAGES = {"0": FLOATS, "1": struct.pack("<2q", 0, 3), "2": bytes(range(16)), "3": bytes(16)}

PICKLES = {"tensors": tensors(), "nested": nested(), "module": module()} | {
    f"plain{protocol}": plain(protocol) for protocol in range(6)
}


def wrapped(data: bytes) -> bytes:
    """Put a pickle into a well-formed zip archive that has the storages of `tensors`."""
    return zip_checkpoint(data, STORAGES)


def _legacy() -> bytes:
    views = {
        "w": tensor(legacy_storage()),
        "v": tensor(legacy_storage(view=("v", 1, 2)), offset=1, size=(2,)),
        "l": tensor(legacy_storage("1", 2, "LongStorage"), size=(2, 1), stride=(1, 2)),
    }
    both = {"0": FLOATS, "1": STORAGES["1"]}
    return legacy_checkpoint(state_dict(**views), both, numels={"1": 2})


CODE = b"""class Net(Module):
  __parameters__ = ["w", "a.b", ]
  __buffers__ = []
  a : __torch__.Inner
class Inner(Module):
  __parameters__ = ["b", ]
  __buffers__ = []
class Two(Module):
  __parameters__ = []
  __buffers__ = []
"""


def scripted(kind: str, attributes: object) -> Code:
    """Pickle an object of a TorchScript class."""
    return build(Code(name("__torch__", kind) + b")\x81"), attributes)


def torchscript(pickle: bytes, code: bytes = CODE, **of_code: Any) -> bytes:
    """Write a TorchScript archive."""
    sources = Member("archive/code/__torch__.py", code, **of_code)
    return zip_archive([*torch_members(pickle, STORAGES), sources, Member("archive/constants.pkl", pickled(()))])


def _torchscript() -> bytes:
    inner = scripted("Inner", {"b": _parameter(tensor(size=(2,))), "training": True})
    return torchscript(pickled(scripted("Net", {"w": tensor(), "a": inner, "two": scripted("Two", {})})))


def _short(tar: bytes) -> bytes:
    """Keep two of the empty blocks at the end of a tar."""
    used = len(tar.rstrip(b"\0"))
    return tar[: used + -used % 512 + 1024]


SEEDS: dict[str, list[bytes]] = {
    "zip": [
        wrapped(tensors()),
        zip_archive([replace(member, method=8, flags=0) for member in torch_members()], alignment=1),
        zip_checkpoint(comment=b"note", byteorder="big"),
        _torchscript(),
        exported(),
    ],
    "legacy": [_legacy(), python2_checkpoint()],
    "tar": [
        _short(tar_checkpoint()),
        _short(tar_checkpoint(storages=tar_storages(views=[(9, 1, 1, 3)]), tensors=tar_tensors(of=9, size=(2,)))),
    ],
    "pickle": list(PICKLES.values()),
    "safetensors": [
        safetensors(
            {
                "a": ("F32", [2, 2], 0, 16),
                "b": ("BF16", [4], 16, 24),
                "c": ("BOOL", [], 24, 25),
                "d": ("F8_E5M2", [7], 25, 32),
            },
            FLOATS + bytes(16),
            metadata={"format": "pt"},
        ),
        safetensors(),
    ],
}
