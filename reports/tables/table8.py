"""Table 8: the moment at which linear freezing takes its first layer."""

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
    "Every t0 is as long as it takes to cost what SmartFRZ does on the same model and data; the "
    "paper likewise keeps the time the same."
)


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Table 8 with its curves."""
    found = build_sensitivity(frame, profile, OPTION)
    return sensitivity_table.build_report(
        found, frame, profile, TITLE, notes=[NOTE, captions.ONE_BACKBONE], timed=True
    )
