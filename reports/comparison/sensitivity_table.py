"""Table and curves of runs at several values of one option (see sensitivity.py)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from reports.comparison.sensitivity import Sensitivity
from reports.document import captions
from reports.document.profile import Profile
from reports.document.report import Drawing, Report
from reports.document.table import (
    Column,
    Row,
    Table,
    format_fixed,
    interval_column,
    mean_sd_column,
    number_column,
    p_value_column,
    percent_column,
    rounded_column,
    text_column,
    to_number,
)
from reports.figures.sensitivity_curves import Panel, draw_sensitivity_curves
from reports.runs.cells import Cell

PAIR = (text_column("Model", "model"), text_column("Data", "dataset"))
MEANING = (
    "Difference to the default, paired by seed, with a two-sided 95 % t interval; p that there is "
    "none, Holm-adjusted over the settings of this table. Savings are against full training of "
    "the same model and data."
)


def build_report(
    found: Sensitivity,
    frame: pd.DataFrame,
    profile: Profile,
    title: str,
    *,
    extra: Sequence[Column] = (),
    notes: Sequence[str] = (),
    timed: bool = False,
) -> Report:
    """A table and its curves.

    extra: columns besides accuracy, cost and the paper's. timed: the paper prints times too.
    """
    option, here = found.option, f"({profile.name} profile)"
    about = [profile.sentence, *captions.describe_setting(found.cells, profile)]
    marks = [*captions.explain_marks(found.cells), *captions.list_failures(found.cells, profile)]
    ranges = [_describe_range(found, pair, profile) for pair in found.pairs]
    texts = [
        *ranges,
        *notes,
        MEANING,
        captions.SPREAD,
        captions.TIME,
        _describe_paper(option.table),
        *marks,
    ]
    part = Table(
        f"{title} {here}", _build_columns(found, extra, timed), found.rows, PAIR, [*about, *texts]
    )
    compact = Table(
        f"{title} {here}",
        _build_compact_columns(found, extra, timed),
        found.rows,
        PAIR,
        [*about, *ranges, *notes, MEANING, *marks],
    )
    stem = f"table{option.table}"
    drawing = draw_curves(found, profile, title, timed)
    return Report(stem, title, (part,), (drawing,), frame, compact=(compact,), numbers={stem: part})


def draw_curves(found: Sensitivity, profile: Profile, title: str, timed: bool) -> Drawing:
    """Accuracy, and time where the paper prints it, over the values; the paper's below ours."""
    panels = [
        Panel(
            f"{profile.format_name(pair[0])}\n{profile.format_name(pair[1])}",
            {"accuracy": "accuracy (%)", "time_s": "time (s)"}[key],
            {
                at: _collect_seeds(cell, row, key)
                for at, (cell, row) in found.select_by_value(pair).items()
            },
            {at: to_number(row[f"published_{key}"])
             for at, (_, row) in found.select_by_value(pair).items()},
            relative=key == "time_s",
        )
        for pair in found.pairs
        for key in ("accuracy", "time_s")[: 1 + timed]
    ]  # fmt: skip
    option = found.option
    return Drawing(
        f"table{option.table}_sensitivity",
        title,
        f"{option.head}: every seed, and the mean with its 95 % t interval; below, the paper's. "
        "Both rows of a column span as many points of accuracy"
        + (", and as large a share of the time," if timed else "")
        + " so that slopes compare."
        + (" Times of several devices, or of runs that shared their CPU, are left out." * timed),
        lambda: draw_sensitivity_curves(
            panels, option.head, option.default, f"{title} · {profile.name} profile"
        ),
    )


def _collect_seeds(cell: Cell, row: Row, key: str) -> dict[int, float]:
    """A number of every seed; no times of several devices, or of runs that shared their CPU."""
    untold = row["time_s"] is None or cell.slowed
    return {} if key == "time_s" and untold else cell.by_seed(key)


def _describe_range(found: Sensitivity, pair: tuple[str, ...], profile: Profile) -> str:
    """How far apart the means of the settings lie, ours and the paper's."""
    settings = found.select_by_value(pair).values()
    # Means over different seeds differ for that alone.
    complete = all(cell.n == cell.wanted for cell, _ in settings)

    def width(key: str, told: bool = True) -> str:
        values = [to_number(row[key]) for _, row in settings]
        told = told and not any(math.isnan(value) for value in values)
        return f"{format_fixed(max(values) - min(values))} points" if told else "unknown"

    return (
        f"{profile.format_name(pair[0])}, {profile.format_name(pair[1])}: from the worst to the "
        "best setting "
        f"{width('accuracy', complete)} of mean accuracy here, {width('published_accuracy')} in "
        "the paper."
    )


def _build_columns(found: Sensitivity, extra: Sequence[Column], timed: bool) -> tuple[Column, ...]:
    times = [number_column("Paper: time (s)", "published_time_s", 0)] * timed
    return (
        text_column(found.option.head, "setting"),
        text_column("Seeds", "seeds"),
        mean_sd_column("Accuracy (%)", "accuracy", mark="mark"),
        interval_column("Difference to default [95 %]", "to_default"),
        p_value_column("p, Holm", "p_different"),
        *extra,
        rounded_column(f"Comp. ({found.unit.name})", "paper_total", 4, found.unit.flops),
        percent_column("FLOPs saved (%)", "flops_saved"),
        percent_column("Exact saved (%)", "exact_saved"),
        mean_sd_column("Time (s)", "time_s", mark="time_mark", digits=None),
        number_column("Paper: accuracy (%)", "published_accuracy"),
        number_column("Paper: difference", "published_difference", sign=True),
        *times,
    )


def _build_compact_columns(
    found: Sensitivity, extra: Sequence[Column], timed: bool
) -> tuple[Column, ...]:
    times = [number_column("paper's s", "published_time_s", 0)] * timed
    return (
        text_column(found.option.head, "setting"),
        text_column("Seeds", "count"),
        mean_sd_column("accuracy %", "accuracy", mark="mark"),
        interval_column("to default [95 %]", "to_default"),
        p_value_column("p, Holm", "p_different"),
        *extra,
        percent_column("−FLOPs %", "flops_saved", 0),
        rounded_column("time s", "time_s", mark="time_mark"),
        number_column("paper's %", "published_accuracy"),
        *times,
    )


def _describe_paper(table: int) -> str:
    return (
        f"Paper: the numbers printed in Table {table} of the SmartFRZ paper, one value a setting "
        "and no spread, for the models and data sets that ours stand for."
    )
