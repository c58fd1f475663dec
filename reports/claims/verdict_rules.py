"""Rules from intervals to verdicts. Each asks for all intervals to hold, and for one to refute.

An interval that reaches over the threshold decides nothing; nor does one without ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from reports.statistics import LEAST, Interval

ClaimResult = Literal["holds", "does not hold", "cannot be told"]


def check_above(intervals: Sequence[Interval], threshold: float) -> ClaimResult:
    """Holds if every interval lies above the threshold, not if one lies below it.

    An interval of fewer than LEAST values decides nothing, as in the tables.
    """
    if any(one.high < threshold for one in intervals if one.n >= LEAST):
        return "does not hold"
    sure = all(one.low > threshold and one.n >= LEAST for one in intervals)
    return _decide(bool(intervals) and sure)


def check_below(intervals: Sequence[Interval], threshold: float) -> ClaimResult:
    """Holds if every interval lies below the threshold, not if one lies above it."""
    return check_above([_negate_interval(one) for one in intervals], -threshold)


def check_between(intervals: Sequence[Interval], low: float, high: float) -> ClaimResult:
    """Holds if every interval lies between the two, not if one lies outside."""
    return combine_verdicts(check_above(intervals, low), check_below(intervals, high))


def combine_verdicts(*verdicts: ClaimResult) -> ClaimResult:
    """Holds if all do, not if one does not."""
    if "does not hold" in verdicts:
        return "does not hold"
    return _decide(bool(verdicts) and all(verdict == "holds" for verdict in verdicts))


def check_any_positive(values: Sequence[float]) -> ClaimResult:
    """Holds if any value is above zero, not if there are values and none is."""
    if not values:
        return "cannot be told"
    return "holds" if any(value > 0 for value in values) else "does not hold"


def _decide(sure: bool) -> ClaimResult:
    return "holds" if sure else "cannot be told"


def _negate_interval(one: Interval) -> Interval:
    return Interval(-one.mean, -one.high, -one.low, one.n)
