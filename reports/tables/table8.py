"""Table 8: time at which linear freezing freezes its first layer."""

from __future__ import annotations

import pandas as pd

from reports.comparison import sensitivity_table
from reports.comparison.sensitivity import VariedOption, build_sensitivity
from reports.document import captions
from reports.document.profile import Profile
from reports.document.report import Report
from reports.runs.run_table import Reader

TITLE = "Table 8: when linear freezing begins"
OPTION = VariedOption(table=8, column="t0", option="t0", default=0.5, head="t0 (share of T)")
NOTE = (
    "t0: share of the run's T steps after which the first layer freezes. For every t0, the number "
    "of steps T is chosen such that the run costs as much as SmartFRZ on the same model and data. "
    "The paper similarly keeps the training time the same."
)


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Return the report of Table 8 with its curves."""
    found = build_sensitivity(frame, profile, OPTION)
    return sensitivity_table.build_report(
        found, frame, profile, TITLE, notes=[NOTE, captions.ONE_BACKBONE], timed=True
    )
