"""What torch's own names in a pickle mean: storages, and the functions that rebuild tensors from them.

Knows which arguments torch's rebuild functions take (torch/_utils.py, torch/_tensor.py) and which tensors a record
cannot hold. Such a tensor comes back with its `fault` set, so it hinders nobody who does not read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint.pickle import Global, Opaque
from hatch_wheelweights.checkpoint.tensors import MAX_RANK, LazyTensor, Storage, broken_tensor, strided_tensor
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import DTYPES
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "REBUILD",
    "SETSTATE",
    "TypedStorage",
    "itemsize_of",
    "rebuild_dense",
    "storage_dtype",
    "storage_reference",
    "typed_storage",
    "unsupported_dtype",
]

STORAGES: Final = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}
_QUANTISED_ITEMSIZE: Final = {"qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1}


@dataclass(frozen=True, eq=False, repr=False)
class TypedStorage(LazyTensor):
    """A storage as a pickle refers to it; one that stands by itself in a checkpoint is a one-dimensional tensor."""

    storage: Storage | None = None


def storage_dtype(kind: Any) -> str:
    """Return the dtype of a storage class that a persistent id names: `uint8` for an untyped one.

    Raises CheckpointError for any other name.
    """
    if isinstance(kind, Global):
        if (kind.module, kind.name) == ("torch.storage", "UntypedStorage"):
            return "uint8"
        if kind.module in ("torch", "torch.cuda") and kind.name in STORAGES:
            return STORAGES[kind.name]
    raise CheckpointError(f"expected a storage class of torch, found {backticked(kind)}")


def storage_reference(pid: Any) -> tuple[str, Any, int, Any]:
    """Return dtype, key, number of elements and view of a persistent id.

    That is `("storage", class, key, location, numel)`, in streams with the view of the storage behind it, or None.
    """
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
        raise CheckpointError("a pickle refers to something that is not a storage")
    _, kind, key, _, numel = pid[:5]
    if type(numel) is not int:
        raise CheckpointError(f"expected a number of elements, found a {type(numel).__name__}")
    return storage_dtype(kind), key, numel, pid[5] if len(pid) == 6 else None


def typed_storage(storage: Storage, dtype: str, numel: Any) -> TypedStorage:
    """Return the storage with its dtype and its number of elements, which must fill it exactly."""
    if type(numel) is not int:
        raise CheckpointError(f"expected a number of elements, found a {type(numel).__name__}")
    itemsize = itemsize_of(dtype)
    if storage.fault is None and numel * itemsize != storage.nbytes:
        fault = CheckpointError(
            f"its storage has the wrong size: expected {numel * itemsize:,} bytes, found {storage.nbytes:,}",
            expected=numel * itemsize,
            found=storage.nbytes,
            remedy="Get the file again: it is damaged.",
        )
        storage = Storage(storage.nbytes, storage.read, storage.big_endian, fault)
    whole = strided_tensor(storage, dtype if dtype in DTYPES else "uint8", 0, (max(numel, 0),), (1,))
    return TypedStorage(dtype, whole.shape, whole.read, whole.tie, fault=whole.fault, storage=storage)


def itemsize_of(dtype: str) -> int:
    """Return the bytes of an element of a storage."""
    return DTYPES[dtype].itemsize if dtype in DTYPES else _QUANTISED_ITEMSIZE[dtype]


def rebuild_dense(args: tuple[Any, ...], dtype: str | None = None, metadata: Any = None) -> LazyTensor:
    """Return the tensor of (storage, offset, size, stride), as `torch._utils._rebuild_tensor` does."""
    storage, offset, size, stride = args[:4]
    if not isinstance(storage, TypedStorage) or storage.storage is None:
        raise CheckpointError("a tensor is rebuilt from something that is not a storage")
    shape, steps = _ints(size), _ints(stride)
    if type(offset) is not int:
        raise CheckpointError(f"expected an offset, found a {type(offset).__name__}")
    bits = metadata if isinstance(metadata, dict) else {}
    name = dtype or storage.dtype
    if name not in DTYPES:
        return unsupported_dtype(name, shape)
    return strided_tensor(
        storage.storage,
        name,
        offset,
        shape,
        steps,
        conjugated=bits.get("conj") is True,
        negated=bits.get("neg") is True,
    )


def _ints(values: Any) -> tuple[int, ...]:
    if (
        not isinstance(values, (tuple, list))
        or len(values) > MAX_RANK
        or any(type(value) is not int for value in values)
    ):
        raise CheckpointError(
            f"expected at most {MAX_RANK} whole numbers as the size or stride of a tensor, found something else"
        )
    return tuple(values)


def _tensor_v1(args: tuple[Any, ...]) -> LazyTensor:
    _check_count(args, 4, 4)
    return rebuild_dense(args)


def _check_count(args: tuple[Any, ...], least: int, most: int) -> None:
    if not least <= len(args) <= most:
        raise CheckpointError(f"expected {least} to {most} arguments to rebuild a tensor from, found {len(args)}")


def _tensor_v2(args: tuple[Any, ...]) -> LazyTensor:
    _check_count(args, 6, 7)
    return rebuild_dense(args, metadata=args[6] if len(args) > 6 else None)


def _tensor_v3(args: tuple[Any, ...]) -> LazyTensor:
    _check_count(args, 7, 8)
    return rebuild_dense(args, _dtype_name(args[6]), metadata=args[7] if len(args) > 7 else None)


def _dtype_name(dtype: Any) -> str:
    if isinstance(dtype, Global) and dtype.module == "torch":
        return dtype.name
    raise CheckpointError("expected a dtype of torch, found something else")


def unsupported_dtype(dtype: str, shape: tuple[int, ...]) -> LazyTensor:
    """Return a tensor of a dtype that a record has not: it can be listed, not read."""
    if dtype in _QUANTISED_ITEMSIZE:
        return _unsupported(dtype, shape, *_QUANTISED)
    target = "complex64" if dtype == "complex32" else "float32 (or uint8, to keep its bits)"
    return _unsupported(
        dtype,
        shape,
        f"expected a dtype that a record has, found {backticked(dtype)}",
        f"Convert the tensor in torch before saving, to {target}.",
    )


def _unsupported(dtype: str, shape: tuple[int, ...], fact: str, remedy: str) -> LazyTensor:
    return broken_tensor(dtype, shape[:MAX_RANK], CheckpointError(fact, remedy=remedy))


_QUANTISED: Final = (
    "is quantised, which a record cannot hold",
    "Save tensor.dequantize() in torch (or tensor.int_repr(), with its scale and zero point as tensors of their own).",
)


def _always_unsupported(dtype: str, fact: str, remedy: str) -> Callable[[tuple[Any, ...]], LazyTensor]:
    def rebuild(args: tuple[Any, ...]) -> LazyTensor:
        shape = next((arg for arg in args if isinstance(arg, tuple) and all(type(size) is int for size in arg)), ())
        return _unsupported(dtype, shape, fact, remedy)

    return rebuild


def _quantised(args: tuple[Any, ...]) -> LazyTensor:
    storage, size = args[0], args[2]
    return _unsupported(storage.dtype if isinstance(storage, TypedStorage) else "quantised", _ints(size), *_QUANTISED)


def _meta(args: tuple[Any, ...]) -> LazyTensor:
    dtype, size = args[:2]
    return _unsupported(
        _dtype_name(dtype),
        _ints(size),
        "is on the meta device: it has a shape and no values",
        "Materialise the model before saving it (model.to_empty(device='cpu'), then load or initialise its weights).",
    )


def _wrapped(args: tuple[Any, ...]) -> LazyTensor:
    """Return the tensor that a Parameter, or a tensor moved to a device, is made of."""
    if not args or not isinstance(args[0], LazyTensor):
        raise CheckpointError("a parameter is rebuilt from something that is not a tensor")
    return args[0]


def _on_device(args: tuple[Any, ...]) -> LazyTensor:
    """Return the tensor that torch moves to a device (XLA, ORT) after loading.

    The dtype it has there must be the one it is stored with.
    """
    tensor, dtype = _wrapped(args), _dtype_name(args[1])
    if tensor.dtype == dtype:
        return tensor
    return _unsupported(
        dtype,
        tensor.shape,
        f"is stored as {backticked(tensor.dtype)}",
        "Move it to the CPU in torch before saving: tensor.cpu().",
    )


def _from_type(args: tuple[Any, ...]) -> Any:
    """Return what `function(*arguments)` gives, as torch does for subclasses and for tensors with attributes."""
    function, _, arguments = args[:3]
    if not isinstance(function, Global) or function.call is None or not isinstance(arguments, tuple):
        raise CheckpointError("a tensor subclass is rebuilt by an unknown function")
    if function.call is _from_type:
        raise CheckpointError("a tensor subclass is rebuilt by itself")  # one level is all that torch writes
    return function.call(arguments)


def _parameter(args: tuple[Any, ...]) -> Any:
    return _wrapped(args) if args else Opaque("torch.nn.parameter", "Parameter")


def _parameter_state(node: Opaque, state: Any) -> Any:
    """Return the one tensor in the state of a Parameter that torch < 0.4 wrote as a plain object."""
    values = state.values() if isinstance(state, dict) else state if isinstance(state, (tuple, list)) else ()
    tensors = [value for value in values if isinstance(value, LazyTensor)]
    if len(tensors) == 1:
        return tensors[0]
    node.state = state
    return node


def _size(args: tuple[Any, ...]) -> tuple[int, ...]:
    return _ints(args[0]) if args else ()


_SPARSE = _always_unsupported("sparse", "is sparse, which a record cannot hold", "Save tensor.to_dense() in torch.")
_NESTED = _always_unsupported(
    "nested", "is a nested tensor, which a record cannot hold", "Save its parts in torch: list(tensor.unbind())."
)
_WRAPPER = _always_unsupported(
    "subclass", "is a tensor subclass without values of its own", "Save the plain tensor that it stands for in torch."
)

REBUILD: Final[dict[tuple[str, str], Callable[[tuple[Any, ...]], Any]]] = {
    ("torch._utils", "_rebuild_tensor"): _tensor_v1,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _wrapped,
    ("torch._utils", "_rebuild_parameter_with_state"): _wrapped,
    ("torch._utils", "_rebuild_qtensor"): _quantised,
    ("torch._utils", "_rebuild_sparse_tensor"): _SPARSE,
    ("torch._utils", "_rebuild_sparse_csr_tensor"): _SPARSE,
    ("torch._utils", "_rebuild_nested_tensor"): _NESTED,
    ("torch.nested._internal.nested_tensor", "_rebuild_njt"): _NESTED,
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): _meta,
    ("torch._utils", "_rebuild_wrapper_subclass"): _WRAPPER,
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): _on_device,
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _on_device,
    ("torch._utils", "_rebuild_xla_tensor"): _on_device,
    ("torch._tensor", "_rebuild_from_type_v2"): _from_type,
    ("torch._tensor", "_rebuild_from_type"): _from_type,
    ("torch.tensor", "_rebuild_from_type"): _from_type,
    ("torch.nn.parameter", "Parameter"): _parameter,
    ("torch.nn.parameter", "Buffer"): _parameter,
    ("torch", "Size"): _size,
}
SETSTATE: Final = {("torch.nn.parameter", "Parameter"): _parameter_state}
