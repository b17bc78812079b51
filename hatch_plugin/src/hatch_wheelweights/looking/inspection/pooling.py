"""The statistics of several tensors together, from those of each.

Mean and standard deviation are joined as in Chan, Golub and LeVeque (1979), see `statistics`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hatch_wheelweights.looking.inspection.statistics import Statistics

if TYPE_CHECKING:
    from collections.abc import Iterable

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


def _moments(statistics: Iterable[Statistics]) -> tuple[float | None, float | None]:
    count, mean, squares = 0, 0.0, 0.0
    for each in statistics:
        finite = each.values - each.nans - each.infinities
        if each.mean is None or not finite:
            continue
        difference = each.mean - mean
        both = count + finite
        spread = 0.0 if each.std is None else each.std * each.std * (finite - 1)
        squares += spread + difference * difference * count * (finite / both)
        mean += difference * (finite / both)
        count = both
    if not count:
        return None, None
    return mean, math.sqrt(squares / (count - 1)) if count > 1 else None
