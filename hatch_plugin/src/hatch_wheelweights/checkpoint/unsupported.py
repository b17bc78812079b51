"""Tensors that torch saves and a record cannot hold: what each kind is, and what to save in torch instead.

Such a tensor comes back with its `fault` set, so that it does not hinder those beside it: the error is raised only if
the tensor is read. Every remedy is tried with torch in `tests/oracle/test_remedies.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from hatch_wheelweights.checkpoint import dtypes
from hatch_wheelweights.checkpoint.charges import SHORT_TUPLE
from hatch_wheelweights.checkpoint.nodes import Global, Meaning, described, hooked
from hatch_wheelweights.checkpoint.tensors import MAX_RANK, LazyTensor, broken_tensor
from hatch_wheelweights.checkpoint.torch_values import sizes
from hatch_wheelweights.checkpoint.values import are_ints, is_dict, is_tuple
from hatch_wheelweights.errors import CheckpointError
from wheelweights.errors import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hatch_wheelweights.checkpoint.nodes import Call
    from hatch_wheelweights.checkpoint.tensors import Storage

__all__ = ["UNSUPPORTED", "check_count", "storages_of", "storages_of_state", "subclass", "wrapper"]


def check_count(args: tuple[Any, ...], least: int, most: int) -> None:
    """Raise CheckpointError unless a tensor is rebuilt from as many arguments as torch writes."""
    if not least <= len(args) <= most:
        raise CheckpointError(f"expected {least} to {most} arguments to rebuild a tensor from, found {len(args)}")


def storages_of(args: tuple[Any, ...], depth: int = 2) -> tuple[Storage, ...]:
    """Return the storages among the arguments of a call, those of its tensors included; not of those in long ones."""
    found: list[Storage] = []
    for arg in args:
        if isinstance(arg, LazyTensor):
            found += arg.storages
        elif is_tuple(arg) and depth and len(arg) <= SHORT_TUPLE:
            found += storages_of(arg, depth - 1)
    return tuple(found)


def _always(dtype: str, fact: str, remedy: str, counts: tuple[int, int]) -> Call:
    """Return the function that gives tensors of a kind, of the first size among its arguments."""

    def rebuild(args: tuple[Any, ...]) -> LazyTensor:
        check_count(args, *counts)
        return broken_tensor(dtype, _first_size(args), CheckpointError(fact, remedy=remedy), storages_of(args))

    return rebuild


def _first_size(args: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the first size among the arguments of a call, or in a short tuple among them; () where there is none.

    What is longer than a size can be is none: it is not looked through.
    """
    inner = (part for arg in args if is_tuple(arg) and len(arg) <= SHORT_TUPLE for part in arg)
    return next((arg for arg in (*args, *inner) if is_tuple(arg) and 0 < len(arg) <= MAX_RANK and are_ints(arg)), ())


def _quantised(args: tuple[Any, ...]) -> LazyTensor:
    check_count(args, 7, 7)
    storage, size = args[0], args[2]
    dtype = storage.dtype if isinstance(storage, LazyTensor) else "quantised"
    return hooked(broken_tensor(dtype, sizes(size), dtypes.quantised(), storages_of(args)), args[6])


def _meta(args: tuple[Any, ...]) -> LazyTensor:
    check_count(args, 4, 4)
    fault = CheckpointError(
        "is on the meta device: it has a shape but no values",
        remedy="Materialise the model before saving it (model.to_empty(device='cpu'), then load or initialise its "
        "weights).",
    )
    return broken_tensor(dtypes.from_torch(args[0]), sizes(args[1])[:MAX_RANK], fault)


def _uninitialised(args: tuple[Any, ...]) -> LazyTensor:
    """Return the parameter or buffer of a lazy module, which has neither a shape nor values."""
    check_count(args, 1, 3)  # requires_grad, device, dtype; torch writes the first (torch/nn/parameter.py)
    fault = CheckpointError(
        "is not initialised: its module has not been run yet", remedy="Run the model once before saving it."
    )
    return broken_tensor("uninitialised", (), fault)


# ------------------------------------------------------------------------------------------- subclasses

# What a subclass without values of its own calls the plain tensor that it stands for
_PLAIN: Final = tuple(
    (re.compile(pattern), code)
    for pattern, code in (
        (r"torch\.distributed\.(_tensor|tensor)\b.*\.DTensor", "tensor.full_tensor()"),
        (r"torchao\..*\.NF4Tensor", "tensor.get_original_weight()"),
        (r"(torchao|float8_experimental|transformer_engine)\..*", "tensor.dequantize()"),
        (r"torch\.masked\..*\.MaskedTensor", "tensor.to_tensor(0)"),
        (r"torch\.sparse\..*\.SparseSemiStructured\w*", "tensor.to_dense()"),
    )
)


def wrapper(args: tuple[Any, ...]) -> LazyTensor:
    """Return the tensor of `torch._utils._rebuild_wrapper_subclass`: its class is the first argument."""
    check_count(args, 8, 8)
    return broken_tensor("subclass", _first_size(args), subclass(args[0], None), storages_of(args))


def subclass(kind: Any, state: Any) -> CheckpointError:
    """Return the error of a tensor subclass without values of its own, whose attributes are in a state."""
    name = str(kind) if isinstance(kind, Global) else None  # the text of any other value can have no end
    fact = f"is {'a' if name is None else f'{described(kind)}, a'} tensor subclass without values of its own"
    code = next((code for pattern, code in _PLAIN if name is not None and pattern.fullmatch(name)), None)
    if code is not None:
        return CheckpointError(fact, found=name, remedy=f"Save {code} in torch.")
    parts = listed((name for name, _ in _parts(state)), empty="")
    instead = f", or its parts, each by itself ({parts})" if parts else ""
    return CheckpointError(
        fact,
        found=name,
        remedy=f"Save a plain tensor in torch: what its class makes of it (such as tensor.dequantize()){instead}.",
    )


def storages_of_state(state: Any) -> tuple[Storage, ...]:
    """Return the storages of the tensors among the attributes of a tensor."""
    return tuple(storage for _, part in _parts(state) for storage in part.storages)


def _parts(state: Any) -> Iterator[tuple[Any, LazyTensor]]:
    """Yield the tensors among the attributes of a tensor, with their names."""
    for attributes in state if is_tuple(state, 2) else (state,):
        if is_dict(attributes):
            yield from ((name, value) for name, value in attributes.items() if isinstance(value, LazyTensor))


_SPARSE = _always("sparse", "is sparse, which a record cannot hold", "Save tensor.to_dense() in torch.", (2, 2))
_NESTED_FACTS = (
    "nested", "is a nested tensor, which a record cannot hold", "Save its parts in torch: list(tensor.unbind()).",
)  # fmt: skip
_NESTED = _always(*_NESTED_FACTS, (4, 4))
_JAGGED = _always(*_NESTED_FACTS, (0, SHORT_TUPLE))

UNSUPPORTED: Final[dict[tuple[str, str], Meaning]] = {
    ("torch._utils", "_rebuild_qtensor"): Meaning(_quantised),
    ("torch._utils", "_rebuild_sparse_tensor"): Meaning(_SPARSE),
    ("torch._utils", "_rebuild_sparse_csr_tensor"): Meaning(_SPARSE),
    ("torch._utils", "_rebuild_nested_tensor"): Meaning(_NESTED),
    ("torch.nested._internal.nested_tensor", "_rebuild_njt"): Meaning(_JAGGED),
    ("torch._utils", "_rebuild_meta_tensor_no_storage"): Meaning(_meta),
    ("torch._utils", "_rebuild_wrapper_subclass"): Meaning(wrapper),
    ("torch.nn.parameter", "UninitializedParameter"): Meaning(_uninitialised),
    ("torch.nn.parameter", "UninitializedBuffer"): Meaning(_uninitialised),
}
