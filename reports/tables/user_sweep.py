"""Report of a user's own sweep, which is none of the paper's tables."""

from __future__ import annotations

import pandas as pd

from reports.comparison.accuracy_cost_drawing import make_accuracy_cost_drawing
from reports.comparison.against_full_table import build_against_full
from reports.comparison.equal_cost_table import has_one_metric
from reports.comparison.pooled_table import add_pooled
from reports.document import captions
from reports.document.profile import Profile
from reports.document.report import Report
from reports.runs.cells import build_cells


def build_report(name: str, title: str, frame: pd.DataFrame, profile: Profile) -> Report:
    """Return a report that compares the sweep's methods with full training.

    If the sweep has several pairs of model and data with the same metric, the methods are also
    pooled over the pairs.
    """
    metrics, conditional = set(frame.metric), captions.SHARED
    score, notes = captions.name_score(metrics), captions.describe_score(metrics)
    built = build_against_full(frame, profile, None, title, notes, score, conditional)
    if len(frame[["model", "dataset"]].drop_duplicates()) > 1 and has_one_metric(
        build_cells(frame)
    ):
        built = add_pooled(built, None, title, profile, conditional)
    return built.make_report(
        name, title, frame, make_accuracy_cost_drawing(name, frame, profile, score.lower())
    )
