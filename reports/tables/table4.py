"""Table 4: the number of snapshots that SmartFRZ's predictor looks at."""

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
NOTE = "Each window has a predictor of its own, trained on the same source runs."


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Table 4 with its curves."""
    found = build_sensitivity(frame, profile, OPTION)
    return sensitivity_table.build_report(
        found, frame, profile, TITLE, notes=[NOTE, captions.A_PREDICTOR_EACH]
    )
