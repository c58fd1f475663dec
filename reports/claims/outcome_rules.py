"""Rules that turn intervals into the outcome of a claim.

A claim holds if all intervals satisfy its condition. This needs no correction for the number of
intervals (intersection-union test, Berger 1982). A claim does not hold if one interval contradicts
the condition. One of several intervals can do so by chance, so each is widened by Bonferroni's
correction first. An interval decides nothing if it contains the threshold or if its ends are
unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from reports.statistics import LEAST, Interval, widen_interval

Outcome = Literal["holds", "does not hold", "undecided"]


def check_above(intervals: Sequence[Interval], threshold: float, parts: int = 1) -> Outcome:
    """Return "holds" if every interval is above the threshold.

    Return "does not hold" if any interval is below it after the correction for their number, and in
    all other cases "undecided". As in the tables, an interval of fewer than LEAST values decides
    nothing.

    parts: number of parts of the claim, each of which can contradict it.
    """
    tests = len(intervals) * parts
    if any(widen_interval(i, tests).high < threshold for i in intervals if i.n >= LEAST):
        return "does not hold"
    sure = all(interval.low > threshold and interval.n >= LEAST for interval in intervals)
    return _decide(bool(intervals) and sure)


def check_below(intervals: Sequence[Interval], threshold: float, parts: int = 1) -> Outcome:
    """Return "holds" if every interval is below the threshold; otherwise as in `check_above`."""
    return check_above([_negate_interval(interval) for interval in intervals], -threshold, parts)


def check_between(
    intervals: Sequence[Interval], low: float, high: float, parts: int = 1
) -> Outcome:
    """Return "holds" if all intervals are inside (low, high).

    Return "does not hold" if any interval is entirely outside after the correction for their
    number, and in all other cases "undecided".
    """
    return combine_outcomes(check_above(intervals, low, parts), check_below(intervals, high, parts))


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
    return replace(interval, mean=-interval.mean, low=-interval.high, high=-interval.low)
