"""The statistics of several tensors together, from those of each.

Mean and standard deviation are joined as in Chan, Golub and LeVeque (1979), see `statistics`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hatch_wheelweights.looking.inspection.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["pooled"]


def pooled(statistics: Iterable[Statistics | None]) -> Statistics | None:
    """Return the statistics of all values together, without a histogram; None where there are none."""
    known = [each for each in statistics if each is not None]
    if len(known) < 2:
        return known[0] if known else None
    lows = [each.minimum for each in known if each.minimum is not None]
    highs = [each.maximum for each in known if each.maximum is not None]
    mean, std = _moments(known)
    return Statistics(
        values=sum(each.values for each in known),
        zeros=sum(each.zeros for each in known),
        nans=sum(each.nans for each in known),
        infinities=sum(each.infinities for each in known),
        minimum=min(lows, default=None),
        maximum=max(highs, default=None),
        mean=mean,
        std=std,
        rows=sum(each.rows for each in known),
        dead_rows=sum(each.dead_rows for each in known),
        histogram=(),
    )


def _moments(statistics: Sequence[Statistics]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation, computed of numbers scaled by a power of two: squares stay within float64."""
    ends = [abs(end) for each in statistics for end in (each.minimum, each.maximum) if end is not None]
    exponent = math.frexp(float(max(ends, default=0)))[1]
    count, mean, squares = 0, 0.0, 0.0
    for each in statistics:
        finite = each.values - each.nans - each.infinities
        if each.mean is None or not finite:
            continue
        difference = math.ldexp(each.mean, -exponent) - mean
        both = count + finite
        std = 0.0 if each.std is None else math.ldexp(each.std, -exponent)
        squares += std * std * (finite - 1) + difference * difference * count * (finite / both)
        mean += difference * (finite / both)
        count = both
    if not count:
        return None, None
    return math.ldexp(mean, exponent), _scaled(math.sqrt(squares / (count - 1)), exponent) if count > 1 else None


def _scaled(number: float, exponent: int) -> float:
    try:
        return math.ldexp(number, exponent)
    except OverflowError:  # a deviation can be larger than float64 where all values are within it
        return math.inf
