"""Table 5: the number of weights that stand for a layer in SmartFRZ's histories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from reports.comparison import sensitivity_table
from reports.comparison.sensitivity import VariedOption, build_sensitivity
from reports.document import captions
from reports.document.profile import Profile
from reports.document.report import Report
from reports.document.table import percent_column
from reports.runs.run_table import DONE, Reader

TITLE = "Table 5: SmartFRZ's tailored size"
OPTION = VariedOption(
    table=5, column="tailored_size", option="tailored", default=1024, head="Tailored size"
)
NOTE = (
    "Each size has a predictor of its own, trained on the same source runs. A layer with fewer "
    "weights than the size is sampled with replacement: of such layers, the head aside, is the "
    "share that is printed."
)


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Table 5 with its curves, and which share of the layers is too small for each size."""
    found = build_sensitivity(frame, profile, OPTION)
    smaller = {
        cell.roles[:2]: compute_small_shares(frame, reader, cell.roles[0], cell.roles[1])
        for cell in found.cells
    }
    rows = [
        {**row, "with_replacement": smaller[cell.roles[:2]].get(OPTION.value(cell))}
        for cell, row in zip(found.cells, found.rows, strict=True)
    ]
    return sensitivity_table.build_report(
        replace(found, rows=rows),
        frame,
        profile,
        TITLE,
        extra=[percent_column("With repl. (%)", "with_replacement", 0)],
        notes=[NOTE, captions.A_PREDICTOR_EACH],
    )


def compute_small_shares(
    frame: pd.DataFrame, reader: Reader, model: str, dataset: str
) -> Mapping[float, float]:
    """The share of a model's layers, its head aside, with fewer weights than each size.

    From any finished run of it that says how many weights its layers have; empty if none does.
    """
    here = frame[(frame.model == model) & (frame.dataset == dataset)]
    for run in here[here.state == DONE].id:
        weights = reader.weights(run)
        if weights:
            sizes = {float(options.get(OPTION.option, 0)) for options in here.options}
            return {n: sum(w < n for w in weights[:-1]) / (len(weights) - 1) for n in sizes}
    return {}
