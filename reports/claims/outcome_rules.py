"""Rules that turn intervals into the outcome of a claim.

A claim holds if all intervals satisfy its condition. A claim does not hold if one interval
contradicts the condition. An interval decides nothing if it contains the threshold or if its ends
are unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from reports.statistics import LEAST, Interval

Outcome = Literal["holds", "does not hold", "undecided"]


def check_above(intervals: Sequence[Interval], threshold: float) -> Outcome:
    """Return "holds" if every interval is above the threshold, "does not hold" if any is below.

    In all other cases, return "undecided". As in the tables, an interval of fewer than LEAST values
    decides nothing.
    """
    if any(interval.high < threshold for interval in intervals if interval.n >= LEAST):
        return "does not hold"
    sure = all(interval.low > threshold and interval.n >= LEAST for interval in intervals)
    return _decide(bool(intervals) and sure)


def check_below(intervals: Sequence[Interval], threshold: float) -> Outcome:
    """Return "holds" if every interval is below the threshold, "does not hold" if any is above."""
    return check_above([_negate_interval(interval) for interval in intervals], -threshold)


def check_between(intervals: Sequence[Interval], low: float, high: float) -> Outcome:
    """Return "holds" if all intervals are inside (low, high).

    Return "does not hold" if any interval is entirely outside. In all other cases, return
    "undecided".
    """
    return combine_outcomes(check_above(intervals, low), check_below(intervals, high))


def combine_outcomes(*outcomes: Outcome) -> Outcome:
    """Return "holds" if all outcomes are "holds", "does not hold" if any is "does not hold"."""
    if "does not hold" in outcomes:
        return "does not hold"
    return _decide(bool(outcomes) and all(outcome == "holds" for outcome in outcomes))


def check_any_positive(values: Sequence[float]) -> Outcome:
    """Return "holds" if any value is positive, "does not hold" if none is.

    Without values the result is "undecided".
    """
    if not values:
        return "undecided"
    return "holds" if any(value > 0 for value in values) else "does not hold"


def _decide(sure: bool) -> Outcome:
    return "holds" if sure else "undecided"


def _negate_interval(interval: Interval) -> Interval:
    return Interval(-interval.mean, -interval.high, -interval.low, interval.n)
