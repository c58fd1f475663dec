"""Table 9: the number of times an epoch that AutoFreeze decides."""

from __future__ import annotations

import pandas as pd

from reports import caption, sensitivity_tables
from reports.caption import Profile
from reports.frame import Reader
from reports.report import Report
from reports.sensitivity import Option, sensitivity

TITLE = "Table 9: how often AutoFreeze looks"
OPTION = Option(table=9, column="M", option="M", default=4, head="M (intervals an epoch)")


def report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Table 9 with its curves."""
    found = sensitivity(frame, profile, OPTION)
    return sensitivity_tables.report(
        found, frame, profile, TITLE, notes=[caption.ONE_BACKBONE], timed=True
    )
