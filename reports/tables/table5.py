"""Table 5: number of weights sampled from each layer for SmartFRZ (its tailored size)."""

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
    "Tailored size: number of weights sampled from each layer for the predictor. Each size has its "
    "own predictor. All predictors are trained on the same recorded runs. With repl.: share of the "
    "layers (without the head) that have fewer weights than the tailored size and are therefore "
    "sampled with replacement."
)


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Return the report of Table 5 with its curves and the share of small layers for each size."""
    found = build_sensitivity(frame, profile, OPTION)
    smaller = {
        cell.roles[:2]: compute_small_shares(frame, reader, cell.roles[0], cell.roles[1])
        for cell in found.cells
    }
    rows = [
        {**row, "with_replacement": smaller[cell.roles[:2]].get(OPTION.get_value(cell))}
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
    """Return the share (0 to 1) of a model's layers with too few weights, by tailored size.

    A layer has too few weights if it has fewer than the tailored size. The head is not counted. The
    numbers of weights come from any finished run that recorded them. Return an empty mapping if no
    run recorded them.
    """
    here = frame[(frame.model == model) & (frame.dataset == dataset)]
    for run in here[here.state == DONE].id:
        weights = reader.count_weights(run)
        if weights:
            sizes = {float(options.get(OPTION.option, 0)) for options in here.options}
            return {n: sum(w < n for w in weights[:-1]) / (len(weights) - 1) for n in sizes}
    return {}
