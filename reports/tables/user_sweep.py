"""The report of a sweep that is none of the paper's tables: a user's own, under its own name."""

from __future__ import annotations

import pandas as pd

from reports.comparison.against_full_table import against_full
from reports.comparison.equal_cost_table import one_metric
from reports.comparison.pooled_table import with_pooled
from reports.document import captions
from reports.document.profile import Profile
from reports.document.report import ACCURACY, Report
from reports.figures.accuracy_cost_drawing import front
from reports.runs.cells import cells

SCORE = "Score (%)"  # of several metrics, or of another than accuracy


def report(name: str, title: str, frame: pd.DataFrame, profile: Profile) -> Report:
    """Its methods against full training, pooled if several pairs of model and data are scored
    alike.
    """
    score = ACCURACY if set(frame.metric) <= {"accuracy", ""} else SCORE
    conditional = captions.SHARED
    built = against_full(frame, profile, None, title, score=score, conditional=conditional)
    if len(frame[["model", "dataset"]].drop_duplicates()) > 1 and one_metric(cells(frame)):
        built = with_pooled(built, None, title, profile, conditional)
    return built.report(name, title, frame, front(name, frame, profile, score.lower()))
