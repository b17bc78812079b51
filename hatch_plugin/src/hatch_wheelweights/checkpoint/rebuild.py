"""What torch's own names in a pickle mean: storages, and the functions that rebuild tensors from them.

Knows which arguments torch's rebuild functions take (torch/_utils.py, torch/_tensor.py); which tensors a record cannot
hold, `unsupported` knows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from hatch_wheelweights.checkpoint import dtypes
from hatch_wheelweights.checkpoint.charges import SHORT_TUPLE
from hatch_wheelweights.checkpoint.nodes import (
    Array,
    Global,
    Meaning,
    Opaque,
    Parameter,
    can_require_grad,
    carrying,
    described,
    holds_anything,
    hooked,
)
from hatch_wheelweights.checkpoint.remedies import DAMAGED, DOUBTFUL
from hatch_wheelweights.checkpoint.tensors import LazyTensor, Storage, broken_tensor, strided_tensor
from hatch_wheelweights.checkpoint.torch_values import sizes
from hatch_wheelweights.checkpoint.unsupported import UNSUPPORTED, check_count, storages_of_state, subclass, wrapper
from hatch_wheelweights.checkpoint.values import is_dict, is_tuple
from hatch_wheelweights.errors import CheckpointError
from wheelweights.dtypes import DTYPES
from wheelweights.errors import backticked

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = [
    "REBUILD",
    "StorageReference",
    "TypedStorage",
    "check_same_use",
    "numbered_key",
    "rebuild_dense",
    "storage_key",
    "storage_reference",
    "typed_storage",
]

MAX_KEY_CHARACTERS: Final = 64


class TypedStorage(LazyTensor):
    """A storage as a pickle refers to it; where it is a value of its own, it is a one-dimensional tensor."""

    __slots__ = ()

    @property
    def storage(self) -> Storage:
        """The storage itself, with the fault that it has as one of this dtype and size."""
        return self.storages[0]


class StorageReference(NamedTuple):
    """What a persistent id says of a storage: its dtype, key, number of elements, and the part that is meant."""

    dtype: str
    key: str
    numel: int
    view: Any


def storage_reference(pid: Any, lengths: tuple[int, ...], key_of: Callable[[Any], str]) -> StorageReference:
    """Return what a persistent id of a storage says.

    That is `("storage", class, key, location, numel)`; with a sixth part, the view of the storage or None. `lengths`
    says how many parts there may be, `key_of` what a key is. Raises CheckpointError for anything else.
    """
    if not is_tuple(pid, *lengths) or pid[0] != "storage":
        raise CheckpointError("a pickle refers to something that is not a storage")
    _, kind, key, location, numel = pid[:5]
    if not isinstance(location, str):
        raise CheckpointError(f"expected the location of a storage, found {described(location)}")
    dtype = dtypes.from_storage_class(kind)
    return StorageReference(dtype, key_of(key), _numel(numel), pid[5] if len(pid) == 6 else None)


def storage_key(key: Any) -> str:
    """Return the key of a storage; raise CheckpointError for what can be none. To torch, "0" and 0 are two keys."""
    if isinstance(key, str) and len(key) <= MAX_KEY_CHARACTERS:
        return key
    raise CheckpointError(
        f"expected at most {MAX_KEY_CHARACTERS} characters as the key of a storage, found {described(key)}",
        remedy=DOUBTFUL,
    )


def numbered_key(key: Any) -> str:
    """Return the key of a storage or tensor as text where a number means the same."""
    return str(key) if type(key) is int and abs(key) < 1 << 64 else storage_key(key)


def _numel(numel: Any) -> int:
    if type(numel) is not int:
        raise CheckpointError(f"expected a number of elements, found {described(numel)}")
    if not 0 <= numel < 1 << 63:
        raise CheckpointError("expected a number of elements of at most 63 bits, found another")
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
    return TypedStorage(dtype, whole.shape, whole.read, whole.tie, fault=whole.fault, view=whole.view)


def rebuild_dense(args: tuple[Any, ...], dtype: str | None = None, metadata: Any = None) -> LazyTensor:
    """Return the tensor of (storage, offset, size, stride), as `torch._utils._rebuild_tensor` does."""
    storage, offset, size, stride = args[:4]
    if not isinstance(storage, TypedStorage):
        raise CheckpointError("a tensor is rebuilt from something that is not a storage")
    shape, steps = sizes(size), sizes(stride)
    if type(offset) is not int:
        raise CheckpointError(f"expected an offset, found a {type(offset).__name__}")
    bits = _bits(metadata)
    name = dtype or storage.dtype
    if name not in DTYPES:
        return broken_tensor(name, shape, dtypes.unsupported(name), storage.storages)
    if storage.storage.big_endian and dtypes.itemsize_of(name) != dtypes.itemsize_of(storage.dtype):
        fault = CheckpointError(
            "is big-endian in a storage that has no dtype, of which torch reads other values than were saved",
            remedy="Save it on that machine as .safetensors, or as a dtype that torch has had for longer.",
        )
        return broken_tensor(name, shape, fault, storage.storages)
    return strided_tensor(
        storage.storage,
        name,
        offset,
        shape,
        steps,
        conjugated="conj" in bits,
        negated="neg" in bits,
    )


def _bits(metadata: Any) -> dict[str, bool]:
    """Return what torch notes of a tensor: whether it is conjugated, or negated. torch looks at the keys alone."""
    if metadata is None:
        return {}
    if is_dict(metadata) and all(isinstance(key, str) and value is True for key, value in metadata.items()):
        return metadata
    raise CheckpointError("expected marks that are true as the metadata of a tensor, found something else")


def _tensor_v1(args: tuple[Any, ...]) -> LazyTensor:
    check_count(args, 4, 4)
    return rebuild_dense(args)


def _tensor_v2(args: tuple[Any, ...]) -> LazyTensor:
    check_count(args, 6, 7)
    return hooked(_checked(rebuild_dense(args, metadata=next(iter(args[6:]), None)), args[4]), args[5])


def _checked(tensor: LazyTensor, requires_grad: Any) -> LazyTensor:
    """Return the tensor if it can require gradients, or does not."""
    if not isinstance(requires_grad, bool):
        raise CheckpointError(f"expected whether a tensor requires gradients, found {described(requires_grad)}")
    if requires_grad and not can_require_grad(tensor):
        raise CheckpointError(f"a tensor of dtype {backticked(tensor.dtype)} requires gradients")
    return tensor


def _tensor_v3(args: tuple[Any, ...]) -> LazyTensor:
    check_count(args, 7, 8)
    tensor = rebuild_dense(args, dtypes.from_torch(args[6]), metadata=next(iter(args[7:]), None))
    return hooked(_checked(tensor, args[4]), args[5])


def _is_tensor(value: Any) -> TypeGuard[LazyTensor]:
    return isinstance(value, LazyTensor) and not isinstance(value, (Array, TypedStorage))


def _wrapped(args: tuple[Any, ...]) -> LazyTensor:
    """Return the tensor that a Parameter is made of."""
    if not _is_tensor(args[0]):
        raise CheckpointError("a parameter is rebuilt from something that is not a tensor")
    return _checked(args[0], args[1])


def _parameter(args: tuple[Any, ...]) -> LazyTensor:
    check_count(args, 3, 3)
    return hooked(_wrapped(args), args[2])


def _parameter_with_state(args: tuple[Any, ...]) -> LazyTensor:
    check_count(args, 4, 4)
    return _given(hooked(_wrapped(args), args[2]), args[3])


def _given(tensor: LazyTensor, state: Any) -> LazyTensor:
    """Return a tensor with the attributes that torch sets: a dict of them, or two.

    It has a fault if one of them is a property of torch, and its value is not what the tensor has anyway.
    """
    for names in state if is_tuple(state, 2) else (state,):
        if names is None:
            continue
        if not is_dict(names) or not all(isinstance(name, str) for name in names):
            raise CheckpointError("expected attributes of a tensor, found something else")
        tensor = _checked_against(tensor, names, _PROPERTIES)
    return carrying(tensor, state)


def _given_by_its_class(tensor: LazyTensor, state: Any) -> LazyTensor:
    """Return a tensor of a class of others, which may have a use for any state, but for values in it."""
    for names in state if is_tuple(state, 2) else (state,):
        if is_dict(names):
            tensor = _checked_against(tensor, names, _VALUES)
    return carrying(tensor, state)


def _checked_against(tensor: LazyTensor, given: dict[Any, Any], properties: frozenset[str]) -> LazyTensor:
    """Return the tensor, with a fault if what it is given changes one of these properties."""
    if tensor.fault is not None or properties.isdisjoint(given):
        return tensor
    name = next((name for name in given if name in properties and not _is_so(tensor, name, given[name])), None)
    if name is None:
        return tensor
    whole = broken_tensor(tensor.dtype, tensor.shape, _changed(name), tensor.storages)
    return replace(whole, attributes=tensor.attributes)


def _is_so(tensor: LazyTensor, name: str, value: Any) -> bool:
    """Tell whether a property of torch makes no difference to the values of a tensor: bitsandbytes saves two such."""
    if name == "data":
        return _is_tensor(value) and value.tie == tensor.tie
    return name == "requires_grad" and isinstance(value, bool) and (can_require_grad(tensor) or not value)


def _changed(name: str) -> CheckpointError:
    what = "replaces its values when torch loads it" if name == "data" else "is torch's own name for something else"
    return CheckpointError(
        f"is given {backticked(name)}, which {what}",
        remedy="Save the state_dict instead: torch.save(model.state_dict(), path)",
    )


_VALUES: Final = frozenset({"data"})
# What torch makes of these is not what is set
_PROPERTIES: Final = frozenset({
    "H", "T", "__class__", "__cuda_array_interface__", "__dict__", "__weakref__", "_backward_hooks", "_base", "_cdata",
    "_grad", "_grad_fn", "_has_symbolic_sizes_strides", "_post_accumulate_grad_hooks", "_python_dispatch", "_version",
    "data", "device", "dtype", "grad", "grad_dtype", "grad_fn", "imag", "is_cpu", "is_cuda", "is_ipu", "is_leaf",
    "is_maia", "is_meta", "is_mkldnn", "is_mps", "is_mtia", "is_nested", "is_quantized", "is_sparse", "is_sparse_csr",
    "is_vulkan", "is_xla", "is_xpu", "itemsize", "layout", "mH", "mT", "name", "names", "nbytes", "ndim", "output_nr",
    "real", "requires_grad", "retains_grad", "shape", "volatile",
})  # fmt: skip


def _from_numpy(args: tuple[Any, ...]) -> LazyTensor:
    """Return the tensor that torch moves to a device (XLA, ORT) after loading, stored as an array."""
    check_count(args, 4, 4)
    if not isinstance(args[0], Array):
        raise CheckpointError("a tensor on a device is rebuilt from something that is not an array")
    return _on_device(args[0], args)


def _from_cpu(args: tuple[Any, ...]) -> LazyTensor:
    """Return the tensor that torch moves to a device after loading, stored as a tensor."""
    check_count(args, 4, 4)
    if not _is_tensor(args[0]):
        raise CheckpointError("a tensor on a device is rebuilt from something that is not a tensor")
    return _on_device(args[0], args)


def _on_device(stored: LazyTensor, args: tuple[Any, ...]) -> LazyTensor:
    """Return a tensor that is moved to a device; the dtype it has there must be the one it is stored with."""
    dtype = dtypes.from_torch(args[1])
    tensor = LazyTensor(
        stored.dtype, stored.shape, stored.read, stored.tie,
        fault=stored.fault, view=stored.view, attributes=stored.attributes,
    )  # fmt: skip
    _checked(tensor, args[3])
    if tensor.dtype == dtype:
        return tensor
    fault = CheckpointError(
        f"is stored as {backticked(tensor.dtype)}", remedy="Move it to the CPU in torch before saving: tensor.cpu()."
    )
    return broken_tensor(dtype, tensor.shape, fault, tensor.storages)


def _from_type(args: tuple[Any, ...]) -> LazyTensor:
    """Return what `function(*arguments)` gives, as torch does for subclasses and for tensors with attributes."""
    check_count(args, 4, 4)
    function, kind, arguments, state = args
    if not isinstance(function, Global) or function.call is None or not is_tuple(arguments):
        raise CheckpointError("a tensor subclass is rebuilt by an unknown function")
    if function.call is _from_type:
        raise CheckpointError("a tensor subclass is rebuilt by itself")  # one level is all that torch writes
    if not isinstance(kind, Global) or (kind.call and (kind.module, kind.name) not in _TENSOR_CLASSES):
        raise CheckpointError("a tensor subclass is rebuilt as something that is no class of tensors")
    check_count(arguments, 0, SHORT_TUPLE)  # what is in a longer tuple was not charged for
    tensor = function.call(arguments)
    if not _is_tensor(tensor):
        raise CheckpointError("a tensor subclass is rebuilt from something that is not a tensor")
    if tensor.fault is not None:
        fault = subclass(kind, state) if function.call is wrapper else tensor.fault
        whole = broken_tensor(tensor.dtype, tensor.shape, fault, (*tensor.storages, *storages_of_state(state)))
        tensor = replace(whole, attributes=tensor.attributes)
    return _given(tensor, state) if kind.call else _given_by_its_class(tensor, state)


_TENSOR_CLASSES: Final = (("torch", "Tensor"), ("torch.nn.parameter", "Parameter"))


def _new_parameter(args: tuple[Any, ...]) -> LazyTensor | Opaque:
    """Return a Parameter as its class makes it; torch < 0.4 writes one without a tensor, which is in its state."""
    if not args:
        return Opaque("torch.nn.parameter", "Parameter", closed=True)
    check_count(args, 1, 2)
    tensor = _wrapped((args[0], args[1] if len(args) > 1 else True))
    carried = [] if tensor.attributes is None else [tensor.attributes]
    return Parameter(
        tensor.dtype, tensor.shape, tensor.read, tensor.tie, tensor.key, tensor.fault, tensor.path, tensor.view, carried
    )


def _parameter_state(_: Opaque, state: Any) -> LazyTensor:
    """Return the tensor in the state (tensor, _, hooks, requires_grad, _) of a Parameter."""
    if not is_tuple(state, 5):
        raise CheckpointError("expected five parts as the state of a parameter, found something else")
    return carrying(_wrapped((state[0], state[3])), [part for part in (state[1], state[2]) if holds_anything(part)])


def _buffer(args: tuple[Any, ...]) -> LazyTensor | Opaque:
    if not args:
        return Opaque("torch.nn.parameter", "Buffer", closed=True)
    check_count(args, 1, 2)
    return _wrapped((args[0], False))


REBUILD: Final[dict[tuple[str, str], Meaning]] = {
    **UNSUPPORTED,
    ("torch._utils", "_rebuild_tensor"): Meaning(_tensor_v1),
    ("torch._utils", "_rebuild_tensor_v2"): Meaning(_tensor_v2),
    ("torch._utils", "_rebuild_tensor_v3"): Meaning(_tensor_v3),
    ("torch._utils", "_rebuild_parameter"): Meaning(_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): Meaning(_parameter_with_state),
    ("torch._utils", "_rebuild_device_tensor_from_numpy"): Meaning(_from_numpy),
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): Meaning(_from_cpu),
    ("torch._utils", "_rebuild_xla_tensor"): Meaning(_from_numpy),
    ("torch._tensor", "_rebuild_from_type_v2"): Meaning(_from_type),
    ("torch._tensor", "_rebuild_from_type"): Meaning(_from_type),
    ("torch.tensor", "_rebuild_from_type"): Meaning(_from_type),
    ("torch.nn.parameter", "Parameter"): Meaning(_new_parameter, _new_parameter, _parameter_state),
    ("torch.nn.parameter", "Buffer"): Meaning(_buffer, _buffer),
}
