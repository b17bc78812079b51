"""What the statistics of a file's tensors show that somebody should know: NaN, infinities, zeros, dead rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hatch_wheelweights.looking.inspection.tensors import is_float
from wheelweights.errors import backticked, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from hatch_wheelweights.looking.inspection.tensors import TensorFacts

__all__ = ["Finding", "findings"]

_MAY_BE_ZERO: Final = ("bias", "running_mean", "num_batches_tracked")  # as layers begin


@dataclass(frozen=True, slots=True)
class Finding:
    """What is odd about the values of a tensor. `is_fault` is set for values that are not finite."""

    key: str
    text: str
    is_fault: bool

    def __str__(self) -> str:
        return f"{backticked(self.key)}: {self.text}"


def findings(tensors: Iterable[TensorFacts]) -> list[Finding]:
    """Return what is odd, tied tensors once: first what is not finite, then weights of zeros, then dead rows.

    Zeros are odd in floats that are no bias and no running mean: those begin as zeros. A row is dead if all its values
    are 0.
    """
    found = [finding for tensor in tensors if tensor.tied_to is None for finding in _of(tensor)]
    return sorted(found, key=lambda finding: not finding.is_fault)


def _of(tensor: TensorFacts) -> Iterator[Finding]:
    statistics = tensor.statistics
    if statistics is None:
        return
    if statistics.has_nonfinite:
        parts = [(statistics.nans, "NaN"), (statistics.infinities, "infinite")]
        said = " and ".join(f"{number:,} {word}" for number, word in parts if number)
        yield Finding(tensor.key, f"{said} of {counted(statistics.values, 'value')}", is_fault=True)
    if not is_float(tensor):
        return
    if statistics.is_all_zero:
        if statistics.values > 1 and not tensor.key.endswith(_MAY_BE_ZERO):
            yield Finding(tensor.key, f"all {counted(statistics.values, 'value')} are 0", is_fault=False)
    elif statistics.dead_rows:
        rows = f"{statistics.dead_rows:,} of {counted(statistics.rows, 'row')}"
        yield Finding(tensor.key, f"{rows} hold zeros alone", is_fault=False)
