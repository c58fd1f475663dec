"""Small dot plots in the tables of the page, with one point per seed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from reports.comparison.method_rows import ComparedCell
from reports.document.table import format_fixed
from reports.runs.cells import Cell
from reports.statistics import MARGIN

WIDTH, EDGE = 120, 5  # width of a strip and its empty margin at both ends, in pixels


@dataclass(frozen=True)
class Scale:
    """Linear scale from low to high over WIDTH pixels. Values outside are drawn at the edge."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Return the horizontal position of a value, in pixels."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round(EDGE + min(1.0, max(0.0, share)) * (WIDTH - 2 * EDGE), 1)


@dataclass(frozen=True)
class Strip:
    """Positions of the points and lines of a dot plot, in pixels."""

    points: Sequence[float]
    mean: float
    lines: Sequence[float]  # the margin and zero in plots of differences, otherwise empty
    label: str  # the values as text, for screen readers


def fit_scale(values: Iterable[float]) -> Scale:
    """Return a scale that contains all finite values."""
    known = [value for value in values if math.isfinite(value)]
    return Scale(min(known, default=0.0), max(known, default=1.0))


def build_accuracy_strip(cell: Cell, scale: Scale) -> Strip | None:
    """Return the accuracy of each seed as a strip; None if no run is finished."""
    return _build_strip(cell.by_seed("accuracy"), scale, (), sign=False)


def build_difference_strip(compared: ComparedCell, full: Cell | None, scale: Scale) -> Strip | None:
    """Return the paired differences from full training as a strip; None without a common seed."""
    return _build_strip(compute_differences(compared.cell, full), scale, (-MARGIN, 0.0), sign=True)


def compute_differences(cell: Cell, full: Cell | None) -> dict[int, float]:
    """Return the difference in accuracy from full training, in points, by seed.

    Seeds that are missing in one of the two cells are left out.
    """
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
