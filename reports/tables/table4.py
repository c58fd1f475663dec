"""Table 4: number of snapshots that SmartFRZ's predictor uses (its window)."""

from __future__ import annotations

import pandas as pd

from reports.comparison import sensitivity_table
from reports.comparison.sensitivity import VariedOption, build_sensitivity
from reports.document import captions
from reports.document.profile import Profile
from reports.document.report import Report
from reports.runs.run_table import Reader

TITLE = "Table 4: SmartFRZ's window"
OPTION = VariedOption(
    table=4, column="window", option="window", default=30, head="Window (snapshots)"
)
NOTE = (
    "Window: number of past weight snapshots that the predictor uses for a decision. Each window "
    "has its own predictor. All predictors are trained on the same recorded runs."
)


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Return the report of Table 4 with its curves."""
    found = build_sensitivity(frame, profile, OPTION)
    return sensitivity_table.build_report(
        found, frame, profile, TITLE, notes=[NOTE, captions.A_PREDICTOR_EACH]
    )
