"""Table and curves of runs at several values of one option (see sensitivity.py)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from reports.comparison.against_full_table import format_few_seeds
from reports.comparison.method_rows import format_missing_seeds
from reports.comparison.sensitivity import Sensitivity
from reports.document import captions
from reports.document.difference_column import difference_column
from reports.document.profile import Profile
from reports.document.report import Drawing, Report
from reports.document.table import (
    PAIR_COLUMNS,
    Column,
    Row,
    Table,
    format_fixed,
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

MEANING = (
    "Difference from default: accuracy minus that of the default setting in percentage points, "
    f"paired by seed and test sample, with a two-sided 95 % interval. {captions.TEST_DRAW} “(4 of "
    "5 seeds)” or “(n=4)” means that only four of five seeds have a result of both the setting "
    "and the default. p, Holm: two-sided p value for the null hypothesis of no difference, "
    "Holm-adjusted over the settings of this table. It is “–” while a run of the setting or of "
    f"the default has no result. {captions.DETECTABLE} Savings are relative to full training of "
    "the same model and data. Comp. and FLOPs saved: FLOPs by the paper's convention. Exact "
    "saved: FLOPs that autograd executes. The FLOPs of the strategy's decisions count as a cost "
    "of the method."
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
    """Return the report with a table and its curves.

    extra: additional columns.
    notes: notes of this table alone.
    timed: whether the paper prints times.
    """
    option, here = found.option, f"({profile.name} profile)"
    about = [profile.sentence, *captions.describe_devices_and_predictor(found.cells, profile)]
    marks = [*captions.explain_marks(found.cells), *captions.list_failures(found.cells, profile)]
    ranges = [_describe_range(found, pair, profile) for pair in found.pairs]
    texts = [
        *ranges,
        *notes,
        MEANING,
        captions.SPREAD,
        captions.TIME,
        _describe_printed(option.table),
        *marks,
    ]
    part = Table(
        f"{title} {here}",
        _build_columns(found, extra, timed),
        found.rows,
        PAIR_COLUMNS,
        [*about, *texts],
    )
    compact = Table(
        f"{title} {here}",
        _build_compact_columns(found, extra, timed),
        found.rows,
        PAIR_COLUMNS,
        [*about, *ranges, *notes, MEANING, _describe_printed_briefly(option.table, timed), *marks],
    )
    stem = f"table{option.table}"
    drawing = make_sensitivity_drawing(found, profile, title, timed)
    return Report(stem, title, (part,), (drawing,), frame, compact=(compact,), numbers={stem: part})


def make_sensitivity_drawing(
    found: Sensitivity, profile: Profile, title: str, timed: bool
) -> Drawing:
    """Return a drawing of accuracy over the option's values, and of time if `timed`.

    The paper's numbers are drawn below ours.
    """
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
        f"Horizontal axis: {option.head}. Upper row: each seed, and the mean with its 95 % "
        "t interval. Lower row: "
        "the paper's values. Both rows of a column span the same number of accuracy points"
        + (", or the same share of the time," if timed else "")
        + " so that slopes can be compared."
        + (
            " Times from several devices, or from runs that shared their CPU, are left out." * timed
        ),
        lambda: draw_sensitivity_curves(
            panels, option.head, option.default, f"{title} · {profile.name} profile"
        ),
    )


def _collect_seeds(cell: Cell, row: Row, key: str) -> dict[int, float]:
    """Return the value of the column `key` for each finished run, by seed.

    Times are left out if they come from several devices or if a run shared its CPU.
    """
    untold = row["time_s"] is None or cell.slowed
    return {} if key == "time_s" and untold else cell.by_seed(key)


def _describe_range(found: Sensitivity, pair: tuple[str, ...], profile: Profile) -> str:
    """Return a sentence on the range of mean accuracy over the settings, ours and the paper's."""
    settings = found.select_by_value(pair).values()
    # Means over different sets of seeds cannot be compared.
    complete = all(cell.n == cell.wanted for cell, _ in settings)

    def width(key: str, known: bool = True) -> str:
        values = [to_number(row[key]) for _, row in settings]
        known = known and not any(math.isnan(value) for value in values)
        return f"{format_fixed(max(values) - min(values))} points" if known else "an unknown amount"

    return (
        f"{profile.format_name(pair[0])}, {profile.format_name(pair[1])}: the mean accuracies of "
        f"the best and the worst setting differ by {width('accuracy', complete)} here and by "
        f"{width('published_accuracy')} in the paper."
    )


def _build_columns(found: Sensitivity, extra: Sequence[Column], timed: bool) -> tuple[Column, ...]:
    times = [number_column("Paper: time (s)", "published_time_s", 0)] * timed
    return (
        text_column(found.option.head, "setting"),
        text_column("Seeds", "seeds"),
        mean_sd_column("Accuracy (%)", "accuracy", mark="mark"),
        difference_column("Difference from default [95 %]", "to_default", format_missing_seeds),
        number_column("Detectable (points)", "detectable"),
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
        difference_column("difference [95 %]", "to_default", format_few_seeds),
        p_value_column("p, Holm", "p_different"),
        *extra,
        percent_column("−FLOPs %", "flops_saved", 0),
        rounded_column("time s", "time_s", mark="time_mark"),
        number_column("paper's %", "published_accuracy"),
        *times,
    )


def _describe_printed_briefly(table: int, timed: bool) -> str:
    return (
        f"paper's %: accuracy that Table {table} of the SmartFRZ paper prints, in percent."
        + " paper's s: time that it prints, in seconds." * timed
    )


def _describe_printed(table: int) -> str:
    return (
        f"Paper: the numbers printed in Table {table} of the SmartFRZ paper for the original "
        "models and data sets. The paper prints one value per setting and no standard deviation."
    )
