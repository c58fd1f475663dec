"""Table 7: freezing methods compared with full training, a vision transformer from scratch."""

from __future__ import annotations

import pandas as pd

from reports.comparison.accuracy_cost_drawing import make_accuracy_cost_drawing
from reports.comparison.against_full_table import build_against_full
from reports.document import captions
from reports.document.profile import Profile
from reports.document.report import Report
from reports.runs.run_table import Reader

TITLE = "Table 7: freezing methods against full training, DeiT-T from scratch"
CAPTION = "The paper prints no computation in this table."


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Return the report of Table 7 with its plot of accuracy against computation."""
    notes = [CAPTION, captions.AUTOFREEZE_FROM_SCRATCH]
    built = build_against_full(frame, profile, 7, TITLE, notes, conditional=captions.FROM_SCRATCH)
    return built.make_report(
        "table7", TITLE, frame, make_accuracy_cost_drawing("table7", frame, profile)
    )
