"""The report of a sweep that is none of the paper's tables: a user's own, under its own name."""

from __future__ import annotations

import pandas as pd

from reports import caption
from reports.against_full import against_full
from reports.caption import Profile
from reports.cells import cells
from reports.equal_cost import one_metric
from reports.fronts import front
from reports.pooled import with_pooled
from reports.report import ACCURACY, Report

SCORE = "Score (%)"  # of several metrics, or of another than accuracy


def report(name: str, title: str, frame: pd.DataFrame, profile: Profile) -> Report:
    """Its methods against full training, pooled if several pairs of model and data are scored
    alike.
    """
    score = ACCURACY if set(frame.metric) <= {"accuracy", ""} else SCORE
    conditional = caption.SHARED
    built = against_full(frame, profile, None, title, score=score, conditional=conditional)
    if len(frame[["model", "dataset"]].drop_duplicates()) > 1 and one_metric(cells(frame)):
        built = with_pooled(built, None, title, profile, conditional)
    return built.report(name, title, frame, front(name, frame, profile, score.lower()))
