"""What torch's own names in a pickle mean: storages, and the functions that rebuild tensors from them.

Knows which arguments torch's rebuild functions take (torch/_utils.py, torch/_tensor.py) and which tensors a record
cannot hold. Such a tensor comes back with its `fault` set: the error is raised only if the tensor is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hatch_wheelweights.checkpoint import dtypes
from hatch_wheelweights.checkpoint.nodes import Global, Opaque
from hatch_wheelweights.checkpoint.remedies import DAMAGED, DOUBTFUL
from hatch_wheelweights.checkpoint.tensors import MAX_RANK, LazyTensor, Storage, broken_tensor, strided_tensor
from hatch_wheelweights.checkpoint.values import are_ints, is_dict, is_list, is_tuple
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import DTYPES
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from hatch_wheelweights.checkpoint.nodes import Call

__all__ = [
    "REBUILD",
    "SETSTATE",
    "StorageReference",
    "TypedStorage",
    "check_same_use",
    "rebuild_dense",
    "storage_key",
    "storage_reference",
    "typed_storage",
]

MAX_KEY_CHARACTERS: Final = 64


@dataclass(frozen=True, eq=False, repr=False)
class TypedStorage(LazyTensor):
    """A storage as a pickle refers to it; where it is a value of its own, it is a one-dimensional tensor."""

    storage: Storage = field(kw_only=True)


class StorageReference(NamedTuple):
    """What a persistent id says of a storage: its dtype, key, number of elements, and the part that is meant."""

    dtype: str
    key: str
    numel: int
    view: Any


def storage_reference(pid: Any) -> StorageReference:
    """Return what a persistent id of a storage says.

    That is `("storage", class, key, location, numel)`, in streams with the view of the storage behind it, or None.
    Raises CheckpointError for anything else.
    """
    if not is_tuple(pid, 5, 6) or pid[0] != "storage":
        raise CheckpointError("a pickle refers to something that is not a storage")
    _, kind, key, _, numel = pid[:5]
    dtype = dtypes.from_storage_class(kind)
    return StorageReference(dtype, storage_key(key), _numel(numel), pid[5] if len(pid) == 6 else None)


def storage_key(key: Any) -> str:
    """Return the key of a storage or tensor as text; raise CheckpointError for what can be none."""
    if isinstance(key, (str, bytes)) and len(key) <= MAX_KEY_CHARACTERS:
        return key if isinstance(key, str) else key.decode("latin-1")
    if type(key) is int:
        return str(key)
    raise CheckpointError(
        f"expected a number or at most {MAX_KEY_CHARACTERS} characters as the key of a storage or tensor, "
        f"found a {type(key).__name__}",
        remedy=DOUBTFUL,
    )


def _numel(numel: Any) -> int:
    if type(numel) is not int:
        raise CheckpointError(f"expected a number of elements, found a {type(numel).__name__}")
    return numel


def check_same_use(key: str, known: tuple[str, int], found: tuple[str, int]) -> None:
    """Check that a storage is used with the dtype and the number of elements that it was used with before."""
    if known != found:
        raise CheckpointError(f"storage {backticked(key)} is used with two dtypes or sizes")


def typed_storage(storage: Storage, dtype: str, numel: int) -> TypedStorage:
    """Return the storage with its dtype and its number of elements, which must fill it exactly."""
    expected = numel * dtypes.itemsize_of(dtype)
    if storage.fault is None and expected != storage.nbytes:
        fault = CheckpointError(
            f"its storage has the wrong size: expected {expected:,} bytes, found {storage.nbytes:,}",
            expected=expected,
            found=storage.nbytes,
            remedy=DAMAGED,
        )
        storage = replace(storage, fault=fault)
    whole = strided_tensor(storage, dtype if dtype in DTYPES else "uint8", 0, (max(numel, 0),), (1,))
    return TypedStorage(dtype, whole.shape, whole.read, whole.tie, fault=whole.fault, storage=storage)


def rebuild_dense(args: tuple[Any, ...], dtype: str | None = None, metadata: Any = None) -> LazyTensor:
    """Return the tensor of (storage, offset, size, stride), as `torch._utils._rebuild_tensor` does."""
    storage, offset, size, stride = args[:4]
    if not isinstance(storage, TypedStorage):
        raise CheckpointError("a tensor is rebuilt from something that is not a storage")
    shape, steps = _ints(size), _ints(stride)
    if type(offset) is not int:
        raise CheckpointError(f"expected an offset, found a {type(offset).__name__}")
    bits = metadata if is_dict(metadata) else {}
    name = dtype or storage.dtype
    if name not in DTYPES:
        return broken_tensor(name, shape, dtypes.unsupported(name))
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
    if (is_tuple(values) or is_list(values)) and len(values) <= MAX_RANK and are_ints(values):
        return tuple(values)
    raise CheckpointError(
        f"expected at most {MAX_RANK} whole numbers as the size or stride of a tensor, found something else"
    )


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
    return rebuild_dense(args, dtypes.from_torch(args[6]), metadata=args[7] if len(args) > 7 else None)


def _unsupported(dtype: str, shape: tuple[int, ...], fact: str, remedy: str) -> LazyTensor:
    return broken_tensor(dtype, shape[:MAX_RANK], CheckpointError(fact, remedy=remedy))


def _always_unsupported(dtype: str, fact: str, remedy: str) -> Call:
    def rebuild(args: tuple[Any, ...]) -> LazyTensor:
        shape = next((arg for arg in args if is_tuple(arg) and are_ints(arg)), ())
        return _unsupported(dtype, shape, fact, remedy)

    return rebuild


def _quantised(args: tuple[Any, ...]) -> LazyTensor:
    storage, size = args[0], args[2]
    dtype = storage.dtype if isinstance(storage, TypedStorage) else "quantised"
    return broken_tensor(dtype, _ints(size), dtypes.quantised())


def _meta(args: tuple[Any, ...]) -> LazyTensor:
    dtype, size = args[:2]
    return _unsupported(
        dtypes.from_torch(dtype),
        _ints(size),
        "is on the meta device: it has a shape but no values",
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
    tensor, dtype = _wrapped(args), dtypes.from_torch(args[1])
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
    if not isinstance(function, Global) or function.call is None or not is_tuple(arguments):
        raise CheckpointError("a tensor subclass is rebuilt by an unknown function")
    if function.call is _from_type:
        raise CheckpointError("a tensor subclass is rebuilt by itself")  # one level is all that torch writes
    return function.call(arguments)


def _parameter(args: tuple[Any, ...]) -> Any:
    return _wrapped(args) if args else Opaque("torch.nn.parameter", "Parameter")


def _parameter_state(node: Opaque, state: Any) -> Any:
    """Return the one tensor in the state of a Parameter that torch < 0.4 wrote as a plain object."""
    values = state.values() if is_dict(state) else state if is_tuple(state) or is_list(state) else ()
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
    "subclass", "is a tensor subclass without values of its own", "Save the plain tensor that it wraps, in torch."
)

REBUILD: Final[dict[tuple[str, str], Call]] = {
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
