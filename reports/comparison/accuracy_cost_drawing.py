"""Drawing of accuracy against computation, shared by the tables that compare methods."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from reports.comparison.paired_difference import compare_accuracy
from reports.document.profile import Profile
from reports.document.report import Drawing
from reports.figures.accuracy_cost import draw_accuracy_cost
from reports.runs.cells import Cell
from reports.statistics import MARGIN, Interval

TITLE = "Accuracy against computation"
NOTE = (
    "Vertical axis: difference from full training with the same seed and test samples. Horizontal "
    "axis: computation by the paper's convention, in percent of full training. A small point is a "
    "seed. A large point is the mean of a method, with its 95 % interval over seeds and test draw. "
    "Points to the left of 100 % saved computation. Points above the dashed line lost less than "
    f"the margin of {MARGIN} points. A panel without a result of full training shows the scores "
    "and the FLOPs themselves."
)


def make_accuracy_cost_drawing(
    table: str, frame: pd.DataFrame, profile: Profile, score: str = "accuracy (%)"
) -> Drawing:
    """Return the drawing of accuracy against computation for the runs of a table.

    score: name of the score of the runs.
    """
    return Drawing(
        f"{table}_accuracy_cost",
        TITLE,
        NOTE,
        lambda: draw_accuracy_cost(frame, profile, TITLE, compare_seeds, score),
    )


def compare_seeds(cell: Cell, full: Cell) -> tuple[Mapping[int, float], Interval]:
    """Return the accuracy differences from full training by seed, and their interval.

    Both are the numbers that the tables show.
    """
    difference = compare_accuracy(cell, full)
    return difference.by_seed, difference.interval
