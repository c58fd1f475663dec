"""Table 7: freezing methods against full training, a vision transformer from scratch."""

from __future__ import annotations

import pandas as pd

from reports import caption
from reports.against_full import against_full
from reports.caption import Profile
from reports.frame import Reader
from reports.fronts import front
from reports.report import Report

TITLE = "Table 7: freezing methods against full training, DeiT-T from scratch"
CAPTION = "The paper prints no computation in this table."


def report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Table 7 with its accuracy against computation."""
    notes = [CAPTION, caption.AUTOFREEZE_FROM_SCRATCH]
    built = against_full(frame, profile, 7, TITLE, notes, conditional=caption.FROM_SCRATCH)
    return built.report("table7", TITLE, frame, front("table7", frame, profile))
