"""The report of a sweep that is none of the paper's tables: a user's own, under its own name."""

from __future__ import annotations

import pandas as pd

from reports.against_full import against_full
from reports.caption import Profile
from reports.fronts import front
from reports.pooled import with_pooled
from reports.report import Report


def report(name: str, title: str, frame: pd.DataFrame, profile: Profile) -> Report:
    """Its methods against full training, pooled if there are several pairs of model and data."""
    built = against_full(frame, profile, None, title)
    if len(frame[["model", "dataset"]].drop_duplicates()) > 1:
        built = with_pooled(built, None, title, profile)
    return built.report(name, title, frame, front(name, frame, profile))
