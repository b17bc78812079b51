"""What there is to say about one tensor, and what tensors count together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hatch_wheelweights.looking.inspection.statistics import Statistics

__all__ = ["NOTHING", "TensorFacts", "Totals", "dtype_totals", "is_float", "is_parameter", "sum_of", "totals_of"]

BUFFERS: Final = ("running_mean", "running_var", "num_batches_tracked")  # torch's norms; a state_dict does not say it


# Not frozen, as other values are, though nothing sets a field: see `LazyTensor`
@dataclass(slots=True, unsafe_hash=True)
class TensorFacts:
    """What there is to say about one tensor.

    `source` is its key in the checkpoint, `key` the one it has, or would get, in a record. `kept` is false if the
    filters leave it out; `new_dtype` differs from `dtype` if it would be cast. `nbytes` is None if unknown. `tied_to`
    is the first key that shares its memory, `fault` the reason why the tensor cannot be read. `fault` and `notes` are
    texts that may name options. `statistics` are there if they were asked for and the tensor can be read.
    """

    key: str
    source: str
    shape: tuple[int, ...]
    dtype: str
    new_dtype: str
    nbytes: int | None
    kept: bool = True
    tied_to: str | None = None
    fault: object = None
    notes: tuple[object, ...] = ()
    statistics: Statistics | None = None


class Totals(NamedTuple):
    """What is below a node: tensors and bytes, and values, those of parameters among them; tied tensors count once."""

    tensors: int = 0
    values: int = 0
    parameters: int = 0
    nbytes: int = 0


NOTHING: Final = Totals()


def is_parameter(tensor: TensorFacts) -> bool:
    """Tell whether a tensor is trained, as far as a state_dict says it: one of floats, not a norm's running statistics.

    So counted, the parameters of a state_dict of torch's layers are as many as those of the model.
    """
    return is_float(tensor) and not tensor.key.endswith(BUFFERS)


def is_float(tensor: TensorFacts) -> bool:
    """Tell whether a tensor has, or would get, a dtype of real or complex floats."""
    return tensor.new_dtype.startswith(("float", "bfloat", "complex"))


def totals_of(tensor: TensorFacts) -> Totals:
    """Return what a tensor counts: nothing but itself if it is tied to another, left out, or cannot be read."""
    if not tensor.kept:
        return NOTHING
    if tensor.tied_to is not None or tensor.nbytes is None:
        return Totals(tensors=1)
    values = math.prod(tensor.shape)
    return Totals(1, values, values if is_parameter(tensor) else 0, tensor.nbytes)


def dtype_totals(tensors: Iterable[TensorFacts]) -> dict[str, Totals]:
    """Return the totals by the dtype that the tensors have or would get, the one of most bytes first."""
    found: dict[str, list[Totals]] = {}
    for tensor in tensors:
        if tensor.kept:
            found.setdefault(tensor.new_dtype, []).append(totals_of(tensor))
    return dict(sorted(((dtype, sum_of(each)) for dtype, each in found.items()), key=lambda item: -item[1].nbytes))


def sum_of(totals: Iterable[Totals]) -> Totals:
    """Return the sum of totals."""
    tensors = values = parameters = nbytes = 0
    for each in totals:
        tensors += each.tensors
        values += each.values
        parameters += each.parameters
        nbytes += each.nbytes
    return Totals(tensors, values, parameters, nbytes)
