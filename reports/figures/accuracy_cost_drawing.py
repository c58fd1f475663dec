"""The drawing of accuracy against computation that tables of methods share."""

from __future__ import annotations

import pandas as pd

from reports.document.profile import Profile
from reports.document.report import Drawing
from reports.figures.accuracy_cost import draw_accuracy_cost
from reports.statistics import MARGIN

TITLE = "Accuracy against computation"
NOTE = (
    "Each small point is a seed, each large one a mean with its 95 % t interval. What lies left of "
    "full training saved computation, by the paper's convention; what lies above the dashed line "
    f"lost no more than the margin of {MARGIN} points."
)


def draw_front(
    table: str, frame: pd.DataFrame, profile: Profile, score: str = "accuracy (%)"
) -> Drawing:
    """Of the runs of a table; one panel a model and data set. score: what the height shows."""
    return Drawing(
        f"{table}_accuracy_cost",
        TITLE,
        NOTE,
        lambda: draw_accuracy_cost(frame, profile, TITLE, score),
    )
