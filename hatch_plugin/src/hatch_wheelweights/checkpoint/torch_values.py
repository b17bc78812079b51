"""torch's names that give no tensor: devices, layouts, sizes; and those that nothing calls, such as dtypes.

Knows which arguments torch takes (torch 2.13). Nothing here opens that torch refuses: a wrong argument is an error, and
what would be a new tensor there is an inert node here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hatch_wheelweights.checkpoint import dtypes
from hatch_wheelweights.checkpoint.nodes import Meaning, Opaque
from hatch_wheelweights.checkpoint.tensors import MAX_RANK
from hatch_wheelweights.checkpoint.values import are_ints, is_list, is_tuple
from hatch_wheelweights.errors import CheckpointError

if TYPE_CHECKING:
    from hatch_wheelweights.checkpoint.nodes import Call

__all__ = ["TORCH_VALUES", "never_called", "sizes"]

_DEVICES: Final = (
    "cpu|cuda|ipu|xpu|mkldnn|opengl|opencl|ideep|hip|ve|fpga|maia|xla|lazy|vulkan|mps|meta|hpu|mtia|privateuseone"
)
_DEVICE: Final = re.compile(f"({_DEVICES})(:(0|[1-9][0-9]?))?")
_LAYOUTS: Final = ("strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc", "_mkldnn", "jagged")
_QSCHEMES: Final = (
    "per_tensor_affine", "per_tensor_symmetric", "per_channel_affine", "per_channel_symmetric",
    "per_channel_affine_float_qparams",
)  # fmt: skip
_OTHER_DTYPES: Final = (
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)),
    "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2", "float4_e2m1fn_x2",
)  # fmt: skip
_TENSORS: Final = ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")


def sizes(values: Any) -> tuple[int, ...]:
    """Return sizes or strides; raise CheckpointError for anything else."""
    if (is_tuple(values) or is_list(values)) and len(values) <= MAX_RANK and are_ints(values):
        if not values or (max(values) < 1 << 63 and min(values) > -1 << 63):
            return tuple(values)
        raise CheckpointError("expected sizes and strides of at most 63 bits, found a larger one")
    raise CheckpointError(
        f"expected at most {MAX_RANK} whole numbers as the size or stride of a tensor, found something else"
    )


def _size(args: tuple[Any, ...]) -> tuple[int, ...]:
    if len(args) > 1:
        raise TypeError("a size is made of several things")
    return sizes(args[0]) if args else ()


def _device(args: tuple[Any, ...]) -> Opaque:
    name = args[0] if args else None
    if not isinstance(name, str) or not _DEVICE.fullmatch(name):
        raise TypeError("a device has no name, or an unknown one")
    if len(args) > 1 and (len(args) > 2 or ":" in name or type(args[1]) is not int or not 0 <= args[1] < 100):
        raise TypeError("a device has no number, or a malformed one")
    return Opaque("torch", "device", args, closed=True)


def _layout(args: tuple[Any, ...]) -> Opaque:
    (name,) = args
    if not isinstance(name, str) or name.removeprefix("torch.") not in _LAYOUTS or not name.startswith("torch."):
        raise TypeError("an unknown layout")
    return Opaque("torch.serialization", "_get_layout", args, closed=True)


def never_called(_: tuple[Any, ...]) -> NoReturn:
    """Refuse to call what is no function."""
    raise TypeError("a value is called like a function")


def _empty(module: str, name: str) -> Call:
    """Return the call of a class of which torch makes an empty tensor or storage: a node, because nobody saves that."""

    def make(args: tuple[Any, ...]) -> Opaque:
        if args:
            raise TypeError("a tensor or storage is made of something that is not one")
        return Opaque(module, name, closed=True)

    return make


def _empties() -> dict[tuple[str, str], Meaning]:
    names = [("torch", "Tensor"), ("torch.storage", "UntypedStorage"), ("torch.storage", "TypedStorage")]
    names += [
        (module, f"{kind}Tensor")
        for module in ("torch", "torch.cuda", "torch.sparse", "torch.cuda.sparse")
        for kind in _TENSORS
    ]
    calls = [(module, name, _empty(module, name)) for module, name in names]
    return {(module, name): Meaning(call, call) for module, name, call in calls}


_UNCALLED: Final = (*dtypes.NAMES_OF_TORCH, *dtypes.STORAGES, *_OTHER_DTYPES, *_QSCHEMES)

TORCH_VALUES: Final[dict[tuple[str, str], Meaning]] = {
    ("torch", "Size"): Meaning(_size, _size),
    ("torch", "device"): Meaning(_device, _device),
    ("torch.serialization", "_get_layout"): Meaning(_layout),
    **{("torch", name): Meaning(never_called) for name in _UNCALLED},
    **{("torch.cuda", name): Meaning(never_called) for name in dtypes.STORAGES},
    **_empties(),
}
