"""Drawing of accuracy against computation, shared by the tables that compare methods."""

from __future__ import annotations

import pandas as pd

from reports.document.profile import Profile
from reports.document.report import Drawing
from reports.figures.accuracy_cost import draw_accuracy_cost
from reports.statistics import MARGIN

TITLE = "Accuracy against computation"
NOTE = (
    "A small point is a seed, and a large point is the mean of a method with its 95 % t interval. "
    "Points to the left of full training saved computation, by the paper's convention. Points "
    f"above the dashed line lost less than the margin of {MARGIN} points."
)


def draw_front(
    table: str, frame: pd.DataFrame, profile: Profile, score: str = "accuracy (%)"
) -> Drawing:
    """Return the drawing for the runs of a table. score: label of the vertical axis."""
    return Drawing(
        f"{table}_accuracy_cost",
        TITLE,
        NOTE,
        lambda: draw_accuracy_cost(frame, profile, TITLE, score),
    )
