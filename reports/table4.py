"""Table 4: the number of snapshots that SmartFRZ's predictor looks at."""

from __future__ import annotations

import pandas as pd

from reports import caption, sensitivity_tables
from reports.caption import Profile
from reports.frame import Reader
from reports.report import Report
from reports.sensitivity import Option, sensitivity

TITLE = "Table 4: SmartFRZ's window"
OPTION = Option(table=4, column="window", option="window", default=30, head="Window (snapshots)")
NOTE = "Each window has a predictor of its own, trained on the same source runs."


def report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Table 4 with its curves."""
    found = sensitivity(frame, profile, OPTION)
    return sensitivity_tables.report(
        found, frame, profile, TITLE, notes=[NOTE, caption.A_PREDICTOR_EACH]
    )
