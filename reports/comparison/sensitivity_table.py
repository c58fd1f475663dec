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
    fixed,
    interval,
    mean_sd,
    name,
    number,
    number_of,
    p_value,
    percent,
    rounded,
)
from reports.figures.sensitivity_curves import Panel, sensitivity_curves
from reports.runs.cells import Cell

PAIR = (name("Model", "model"), name("Data", "dataset"))
MEANING = (
    "Difference to the default, paired by seed, with a two-sided 95 % t interval; p that there is "
    "none, Holm-adjusted over the settings of this table. Savings are against full training of "
    "the same model and data."
)


def report(
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
    about = [profile.sentence, *captions.setting(found.cells, profile)]
    marks = [*captions.marks(found.cells), *captions.troubles(found.cells, profile)]
    ranges = [_range(found, pair, profile) for pair in found.pairs]
    texts = [*ranges, *notes, MEANING, captions.SPREAD, captions.TIME, _paper(option.table), *marks]
    part = Table(
        f"{title} {here}", _columns(found, extra, timed), found.rows, PAIR, [*about, *texts]
    )
    compact = Table(
        f"{title} {here}",
        _compact(found, extra, timed),
        found.rows,
        PAIR,
        [*about, *ranges, *notes, MEANING, *marks],
    )
    stem = f"table{option.table}"
    drawing = curves(found, profile, title, timed)
    return Report(stem, title, (part,), (drawing,), frame, compact=(compact,), numbers={stem: part})


def curves(found: Sensitivity, profile: Profile, title: str, timed: bool) -> Drawing:
    """Accuracy, and time where the paper prints it, over the values; the paper's below ours."""
    panels = [
        Panel(
            f"{profile.shown(pair[0])}\n{profile.shown(pair[1])}",
            {"accuracy": "accuracy (%)", "time_s": "time (s)"}[key],
            {at: _by_seed(cell, row, key) for at, (cell, row) in found.at_values(pair).items()},
            {at: number_of(row[f"published_{key}"])
             for at, (_, row) in found.at_values(pair).items()},
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
        lambda: sensitivity_curves(
            panels, option.head, option.default, f"{title} · {profile.name} profile"
        ),
    )


def _by_seed(cell: Cell, row: Row, key: str) -> dict[int, float]:
    """A number of every seed; no times of several devices, or of runs that shared their CPU."""
    untold = row["time_s"] is None or cell.slowed
    return {} if key == "time_s" and untold else cell.by_seed(key)


def _range(found: Sensitivity, pair: tuple[str, ...], profile: Profile) -> str:
    """How far apart the means of the settings lie, ours and the paper's."""
    settings = found.at_values(pair).values()
    # Means over different seeds differ for that alone.
    complete = all(cell.n == cell.wanted for cell, _ in settings)

    def width(key: str, told: bool = True) -> str:
        values = [number_of(row[key]) for _, row in settings]
        told = told and not any(math.isnan(value) for value in values)
        return f"{fixed(max(values) - min(values))} points" if told else "unknown"

    return (
        f"{profile.shown(pair[0])}, {profile.shown(pair[1])}: from the worst to the best setting "
        f"{width('accuracy', complete)} of mean accuracy here, {width('published_accuracy')} in "
        "the paper."
    )


def _columns(found: Sensitivity, extra: Sequence[Column], timed: bool) -> tuple[Column, ...]:
    times = [number("Paper: time (s)", "published_time_s", 0)] * timed
    return (
        name(found.option.head, "setting"),
        name("Seeds", "seeds"),
        mean_sd("Accuracy (%)", "accuracy", mark="mark"),
        interval("Difference to default [95 %]", "to_default"),
        p_value("p, Holm", "p_different"),
        *extra,
        rounded(f"Comp. ({found.unit.name})", "paper_total", 4, found.unit.flops),
        percent("FLOPs saved (%)", "flops_saved"),
        percent("Exact saved (%)", "exact_saved"),
        mean_sd("Time (s)", "time_s", mark="time_mark", digits=None),
        number("Paper: accuracy (%)", "published_accuracy"),
        number("Paper: difference", "published_difference", sign=True),
        *times,
    )


def _compact(found: Sensitivity, extra: Sequence[Column], timed: bool) -> tuple[Column, ...]:
    times = [number("paper's s", "published_time_s", 0)] * timed
    return (
        name(found.option.head, "setting"),
        name("Seeds", "count"),
        mean_sd("accuracy %", "accuracy", mark="mark"),
        interval("to default [95 %]", "to_default"),
        p_value("p, Holm", "p_different"),
        *extra,
        percent("−FLOPs %", "flops_saved", 0),
        rounded("time s", "time_s", mark="time_mark"),
        number("paper's %", "published_accuracy"),
        *times,
    )


def _paper(table: int) -> str:
    return (
        f"Paper: the numbers printed in Table {table} of the SmartFRZ paper, one value a setting "
        "and no spread, for the models and data sets that ours stand for."
    )
