"""Quartiles of a measurement's rounds, and the confidence interval of their median."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

CONFIDENCE = 0.95
LEAST_ROUNDS = 6  # with fewer, even the extremes do not reach 95 % confidence


def compute_quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return lower quartile, median and upper quartile. A single value is all three."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def compute_median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return a confidence interval of the median of the values' distribution, at CONFIDENCE.

    The bounds are two order statistics. Each value exceeds the true median with probability 1/2.
    For any continuous distribution, the number of values above the median is therefore binomial.
    Raises ValueError for fewer than LEAST_ROUNDS values, because no pair of bounds then reaches
    CONFIDENCE.
    """
    count, tail, cut = len(values), 0.0, 0
    while (tail := tail + math.comb(count, cut) / 2**count) <= (1 - CONFIDENCE) / 2:
        cut += 1
    if cut == 0:
        raise ValueError(
            f"{count} values are too few for an interval; at least {LEAST_ROUNDS} are needed"
        )
    ordered = sorted(values)
    return ordered[cut - 1], ordered[count - cut]
