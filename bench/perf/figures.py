"""One measured figure with its spread, and the limit it is held against."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A median over rounds with its quartiles.

    subject: what was measured (a model). case: in which state (a freeze mask, a strategy).
    quantity: what the number is, with its unit. limit: "<= 1.02", ">= 0.95", or "" for none.
    """

    section: str
    subject: str
    case: str
    quantity: str
    median: float
    low: float
    high: float
    rounds: int
    limit: str = ""

    @property
    def verdict(self) -> str:
        """'met' or 'MISSED' where there is a limit, else ''."""
        if not self.limit:
            return ""
        sign, bound = self.limit.split()
        met = self.median <= float(bound) if sign == "<=" else self.median >= float(bound)
        return "met" if met else "MISSED"


def figure(
    section: str, subject: str, case: str, quantity: str, values: Sequence[float], limit: str = ""
) -> Figure:
    """The figure of some rounds' values; one value stands for itself."""
    low, median, high = quartiles(values)
    return Figure(section, subject, case, quantity, median, low, high, len(values), limit)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile; a single value is all three."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high
