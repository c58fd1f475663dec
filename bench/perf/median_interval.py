"""How far the rounds of a measurement lie apart, and how sure that makes their median."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95
LEAST_ROUNDS = 6  # below, no two of the values bracket a median with 95 % confidence


def compute_quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile; a single value is all three."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def compute_median_interval(values: Sequence[float]) -> tuple[float, float]:
    """An interval that holds the median of what the values are drawn from, at CONFIDENCE.

    Two order statistics: each value lies above the median like a coin, whatever the distribution.
    Raises ValueError for fewer than six values, of which not even the extremes are wide enough.
    """
    count, tail, cut = len(values), 0.0, 0
    while (tail := tail + math.comb(count, cut) / 2**count) <= (1 - CONFIDENCE) / 2:
        cut += 1
    if cut == 0:
        raise ValueError(
            f"{count} values are too few for an interval; give at least {LEAST_ROUNDS}"
        )
    ordered = sorted(values)
    return ordered[cut - 1], ordered[count - cut]
