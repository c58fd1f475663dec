"""Values of the paper for each claim: means and ranges over the paper's pairs."""

from __future__ import annotations

from collections.abc import Mapping

from bench.spec import FULL
from reports import statistics
from reports.document.table import format_fixed
from reports.paper.printed_tables import Entry, get_number, read_entries

PAIR = ("model", "dataset")


def format_differences(table: int, ours: str, theirs: str) -> str:
    """Return the mean and range of the difference in accuracy, ours − theirs, in points.

    table: number of the paper's table.
    ours, theirs: methods.
    """
    values = [
        _get_value(a, "accuracy") - _get_value(b, "accuracy")
        for a, b in _pair_rows(table, ours, theirs)
    ]
    return _format_range(values, " points", sign=True)


def format_savings(table: int, ours: str, theirs: str, *columns: str) -> str:
    """Return the mean and range of the share of a cost that `ours` saves, in percent.

    The share is relative to method `theirs`.
    columns: possible names of the column of the cost. The first name that the table has is used.
    """
    return _format_range(
        [100 * value for value in compute_shares(table, ours, theirs, *columns)], " %"
    )


def compute_shares(table: int, ours: str, theirs: str, *columns: str) -> list[float]:
    """Return the share (0 to 1) of a cost that `ours` saves relative to `theirs`, for each pair.

    columns: as for `format_savings`.
    """
    column = next(name for name in columns if name in read_entries(table)[0])
    return [
        1 - _get_value(a, column) / _get_value(b, column)
        for a, b in _pair_rows(table, ours, theirs)
    ]


def format_realised(table: int, method: str) -> str:
    """Return the mean and range of the realised ratio: share of time / share of FLOPs saved."""
    time = compute_shares(table, method, FULL, "time_s")
    flops = compute_shares(table, method, FULL, "tflops")
    return _format_range([t / f for t, f in zip(time, flops, strict=True)], "")


def format_spread(table: int, column: str, default: float) -> str:
    """Return the largest difference in accuracy between any setting and the default, by model.

    column: column of the setting.
    default: its default value.
    """
    by_model: dict[str, dict[float, float]] = {}
    for row in read_entries(table):
        name = str(row.get("model", "resnet50"))
        by_model.setdefault(name, {})[_get_value(row, column)] = _get_value(row, "accuracy")
    return "; ".join(
        f"{model} {format_fixed(_find_farthest(values, default), sign=True)} points"
        for model, values in by_model.items()
    )


def format_lead(table: int, column: str, chosen: float, *others: float) -> str:
    """Return the accuracy at one setting minus the accuracy at each other setting, in points."""
    values = {_get_value(row, column): _get_value(row, "accuracy") for row in read_entries(table)}
    return (
        ", ".join(
            f"{column} {chosen:g} − {column} {other:g}: "
            f"{format_fixed(values[chosen] - values[other], sign=True)}"
            for other in others
        )
        + " points"
    )


def _find_farthest(values: Mapping[float, float], default: float) -> float:
    return max((value - values[default] for value in values.values()), key=abs)


def _pair_rows(table: int, ours: str, theirs: str) -> list[tuple[Entry, Entry]]:
    """Return the rows of two methods, (ours, theirs), for each pair of model and data set."""
    rows = {(*(row.get(key) for key in PAIR), row["method"]): row for row in read_entries(table)}
    pairs = dict.fromkeys(key[:-1] for key in rows)
    return [(rows[(*pair, ours)], rows[(*pair, theirs)]) for pair in pairs]


def _get_value(row: Entry, key: str) -> float:
    value = get_number(row, key)
    if value is None:
        raise KeyError(key)
    return value


def _format_range(values: list[float], unit: str, sign: bool = False) -> str:
    low, mean, high = (format_fixed(v, sign=sign) for v in
                       (min(values), statistics.compute_mean(values), max(values)))  # fmt: skip
    return f"mean {mean}{unit}, from {low} to {high}"
