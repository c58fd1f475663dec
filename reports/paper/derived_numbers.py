"""Numbers that the paper prints for a row, and the differences and savings derived from them."""

from __future__ import annotations

import math

from bench.spec import FULL
from reports import statistics
from reports.document.table import Value
from reports.paper.printed_tables import Entry, find_entry, get_number, read_entries
from reports.statistics import compute_realised

PRINTED = {  # key: possible columns in the paper's tables, with the factor to our units
    "accuracy": {"accuracy": 1.0},
    "accuracy_sd": {"accuracy_pm": 1.0},
    "time_s": {"time_s": 1.0, "time_min": 60.0},
    "flops": {"tflops": 1e12},
}
DERIVED = ("difference", "flops_saved", "time_saved", "realised")


def look_up_row(table: int | None, model: str, dataset: str, method: str) -> dict[str, Value]:
    """Return the paper's numbers for one row, with the prefix `published_` in all keys.

    Units: percent, seconds, FLOPs. Savings are shares (0 to 1) compared with the paper's full
    training. A number that the paper does not print is NaN or None.
    """
    ours = find_entry(table, model=model, dataset=dataset, method=method)
    full = find_entry(table, model=model, dataset=dataset, method=FULL)
    values = {key: _convert_number(ours, key) for key in PRINTED}
    derived = _compute_savings(ours, full) if method != FULL else {}
    return {f"published_{key}": (values | derived).get(key) for key in (*PRINTED, *DERIVED)}


def compute_means(table: int | None, method: str) -> dict[str, Value]:
    """Return the means of a method's savings in the paper, over the paper's pairs.

    The realised ratio is the ratio of the mean shares, as for our runs
    (reports.comparison.against_full).
    """
    pairs = [
        _compute_savings(
            row, find_entry(table, model=row["model"], dataset=row["dataset"], method=FULL)
        )
        for row in read_entries(table)
        if row["method"] == method != FULL
    ]
    means = {key: statistics.compute_mean([pair[key] for pair in pairs]) for key in DERIVED}
    means["realised"] = compute_realised(means["time_saved"], means["flops_saved"])
    return {f"published_{key}": value for key, value in means.items()}


def _compute_savings(ours: Entry, full: Entry) -> dict[str, float]:
    flops_saved = 1 - _convert_number(ours, "flops") / _convert_number(full, "flops")
    time_saved = 1 - _convert_number(ours, "time_s") / _convert_number(full, "time_s")
    return {
        "difference": _convert_number(ours, "accuracy") - _convert_number(full, "accuracy"),
        "flops_saved": flops_saved,
        "time_saved": time_saved,
        "realised": compute_realised(time_saved, flops_saved),
    }


def _convert_number(row: Entry, key: str) -> float:
    """Return a printed number in our units; NaN if the paper prints none."""
    printed = ((get_number(row, column), unit) for column, unit in PRINTED[key].items())
    return next((value * unit for value, unit in printed if value is not None), math.nan)
