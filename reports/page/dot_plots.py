"""Values on a common scale, one point a seed: what the small plots in a page's tables show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.comparison.method_rows import ComparedCell
from reports.document.table import format_fixed
from reports.runs.cells import Cell
from reports.statistics import MARGIN

WIDTH, EDGE = 120, 5  # of a strip, and what stays free at its ends, in pixels


@dataclass(frozen=True)
class Scale:
    """From low to high, drawn over WIDTH pixels; what lies outside is drawn at the edge."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """The pixel of a value."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(EDGE + min(1.0, max(0.0, share)) * (WIDTH - 2 * EDGE), 1)


@dataclass(frozen=True)
class Strip:
    """Where points and lines stand, in pixels; `label` says the same in words."""

    points: Sequence[float]
    mean: float
    lines: Sequence[float]  # zero and the margin, where differences are shown
    label: str


def fit_scale(values: Iterable[float]) -> Scale:
    """The scale that holds all values."""
    known = [value for value in values if math.isfinite(value)]
    return Scale(min(known, default=0.0), max(known, default=1.0))


def build_accuracy_strip(cell: Cell, scale: Scale) -> Strip | None:
    """Accuracy of each seed; None where no run is finished."""
    return _build_strip(cell.by_seed("accuracy"), scale, (), sign=False)


def build_difference_strip(one: ComparedCell, full: Cell | None, scale: Scale) -> Strip | None:
    """Difference to full training of each seed that both have; None where there is none."""
    return _build_strip(compute_differences(one.cell, full), scale, (-MARGIN, 0.0), sign=True)


def compute_differences(cell: Cell, full: Cell | None) -> dict[int, float]:
    """The paired differences in accuracy, by seed."""
    theirs = full.by_seed("accuracy") if full else {}
    return {s: v - theirs[s] for s, v in cell.by_seed("accuracy").items() if s in theirs}


def _build_strip(
    values: Mapping[int, float], scale: Scale, lines: Sequence[float], sign: bool
) -> Strip | None:
    if not values:
        return None
    words = ", ".join(
        f"seed {seed}: {format_fixed(v, 2, sign)}" for seed, v in sorted(values.items())
    )
    inside = [line for line in lines if scale.low <= line <= scale.high]
    return Strip(
        [scale.place(value) for value in values.values()],
        scale.place(sum(values.values()) / len(values)),
        [scale.place(line) for line in inside],
        words,
    )
