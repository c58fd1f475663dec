"""Measured value with its spread, and the limit that the value is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.perf.median_interval import LEAST_ROUNDS, compute_median_interval, compute_quartiles


@dataclass(frozen=True)
class Measurement:
    """Median of a quantity over several rounds, with its spread and limit.

    subject: the measured model or command.
    case: the freeze state, strategy or other condition.
    quantity: name of the value, with its unit.
    low, high: quartiles.
    least, most: confidence interval of the median, at 95 % or more. With fewer than six rounds,
        least and most are the minimum and the maximum.
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
        """'met', 'MISSED' or 'unclear' (the limit lies within the interval); '' without a limit."""
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
    """Return the Measurement that summarises `values`, one per round.

    With one round, the quartiles and the interval equal its value.
    """
    low, median, high = compute_quartiles(values)
    few = len(values) < LEAST_ROUNDS
    least, most = (min(values), max(values)) if few else compute_median_interval(values)
    return Measurement(
        section, subject, case, quantity, median, low, high, least, most, len(values), limit
    )
