"""Table 9: number of decisions that AutoFreeze makes per epoch."""

from __future__ import annotations

import pandas as pd

from reports.comparison import sensitivity_table
from reports.comparison.sensitivity import VariedOption, build_sensitivity
from reports.document import captions
from reports.document.autofreeze_note import describe_short_intervals
from reports.document.profile import Profile
from reports.document.report import Report
from reports.runs.run_table import Reader

TITLE = "Table 9: how often AutoFreeze decides"
OPTION = VariedOption(table=9, column="M", option="M", default=4, head="M (decisions per epoch)")


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Return the report of Table 9 with its curves."""
    found = build_sensitivity(frame, profile, OPTION)
    notes = [*describe_short_intervals(found.cells, profile), captions.ONE_BACKBONE]
    return sensitivity_table.build_report(found, frame, profile, TITLE, notes=notes, timed=True)
