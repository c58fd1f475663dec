"""One measured figure with its spread, and the limit it is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.perf.median_interval import LEAST_ROUNDS, compute_median_interval, compute_quartiles


@dataclass(frozen=True)
class Measurement:
    """A median over rounds with its quartiles.

    subject: what was measured (a model). case: in which state (a freeze mask, a strategy).
    quantity: what the number is, with its unit. least, most: between them lies the true median
    with 95 % confidence, or more; of fewer than six rounds, the extremes, which say less.
    limit: "<= 1.02", ">= 0.95", or "" for none.
    """

    section: str
    subject: str
    case: str
    quantity: str
    median: float
    low: float
    high: float
    least: float
    most: float
    rounds: int
    limit: str = ""

    @property
    def verdict(self) -> str:
        """'met' or 'MISSED' where there is a limit, 'unclear' if it lies within the spread."""
        if not self.limit:
            return ""
        sign, bound = self.limit.split()
        if self.least < float(bound) < self.most:
            return "unclear"
        met = self.median <= float(bound) if sign == "<=" else self.median >= float(bound)
        return "met" if met else "MISSED"


def make_measurement(
    section: str, subject: str, case: str, quantity: str, values: Sequence[float], limit: str = ""
) -> Measurement:
    """The figure of some rounds' values; one value stands for itself."""
    low, median, high = compute_quartiles(values)
    few = len(values) < LEAST_ROUNDS
    least, most = (min(values), max(values)) if few else compute_median_interval(values)
    return Measurement(
        section, subject, case, quantity, median, low, high, least, most, len(values), limit
    )
