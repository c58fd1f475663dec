"""Tables that set methods against full training: results, differences and savings, costs.

Tables 2, 3, 6 and 7 are of this kind, Table 1 and users' own nearly; what the paper does not print
gets no column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from reports.comparison import method_rows
from reports.comparison.against_full import Pooled
from reports.comparison.equal_cost_table import equal_cost
from reports.document import captions
from reports.document.profile import Profile
from reports.document.report import ACCURACY, Drawing, Report
from reports.document.table import (
    GIGA,
    TERA,
    Column,
    Row,
    Table,
    Unit,
    interval,
    known,
    mean_sd,
    name,
    number,
    percent,
    rounded,
    unit_of,
)
from reports.runs.cells import cells
from reports.runs.run_table import FULL

MEBI = 2.0**20

PAIR = (name("Model", "model"), name("Data", "dataset"))
METHOD = name("Method", "method")
SEEDS = name("Seeds", "seeds")
DIFFERENCE = interval("Difference (points) [95 %]", "difference")
VERDICT = name("Verdict", "verdict")

# What is told of every method against full training, whatever else is.
LOST_AND_SAVED = (
    METHOD,
    DIFFERENCE,
    VERDICT,
    percent("FLOPs saved (%)", "flops_saved"),
    percent("Exact saved (%)", "exact_saved"),
)
TIME_SAVED = interval("Time saved (%) [95 %]", "time_saved", "time_saved_mark", 1, 100, sign=False)
THEIRS = {
    "difference": number("Paper: difference", "published_difference", sign=True),
    "flops_saved": percent("Paper: FLOPs saved (%)", "published_flops_saved"),
}

SHORT = (
    "± sample standard deviation; difference to full paired by seed, t interval; non-inferior: "
    "lower end above −0.5 points. Time: train + decide. FLOPs: paper's convention. "
    "−FLOPs, −time: shares saved against full; realised: the second by the first."
)


@dataclass(frozen=True)
class AgainstFull:
    """The parts of such a table; `rows` hold every number of a cell, `pools` of a method."""

    results: Table
    against: Table
    costs: Table
    compact: Table
    rows: Sequence[Row]
    pools: Mapping[str, Pooled]
    score: str
    equal_cost: Table | None = None  # where methods were matched
    compact_equal_cost: Table | None = None
    pooled: Table | None = None  # of several pairs of model and data
    compact_pooled: Table | None = None

    @property
    def parts(self) -> tuple[Table, ...]:
        """What a document shows, in order."""
        several = (self.results, self.against, self.pooled, self.equal_cost, self.costs)
        return _there(several)

    def report(self, table: str, title: str, frame: pd.DataFrame, *drawings: Drawing) -> Report:
        """These parts as the report of a table."""
        numbers = {
            table: self.results,
            f"{table}_pooled": self.pooled,
            f"{table}_equal_cost": self.equal_cost,
        }
        return Report(
            table,
            title,
            self.parts,
            drawings,
            frame,
            compact=_there((self.compact, self.compact_pooled, self.compact_equal_cost)),
            numbers={stem: part for stem, part in numbers.items() if part},
            score=self.score,
        )


def against_full(
    frame: pd.DataFrame,
    profile: Profile,
    table: int | None,
    title: str,
    notes: Sequence[str] = (),
    score: str = ACCURACY,
    conditional: str = captions.CONDITIONAL,
) -> AgainstFull:
    """Build the paper's table of that number, or another one (None), from a frame of its runs (see
    reports.runs.run_table).

    notes: what is particular to it. score: what the runs' accuracy is, as a heading.
    conditional: what the intervals do not cover.
    """
    groups = cells(frame)
    compared = method_rows.compared(groups)
    rows = [method_rows.row(one, profile, table) for one in compared]
    unit = unit_of(cell.mean("paper_total") for cell in groups)
    freezing = [row for row in rows if row["method"] != FULL]
    here = f"({profile.name} profile)"
    label = title if table is None else f"Table {table}"
    papers = [] if table is None else [paper(table)]
    about = [profile.sentence, *captions.setting(groups, profile)]
    marks = [*captions.marks(groups), *captions.troubles(groups, profile)]
    equal, short = equal_cost(groups, profile, f"{label}, at equal cost {here}")
    return AgainstFull(
        Table(f"{title} {here}", results_columns(unit, rows, score), rows, PAIR,
              [*about, captions.SPREAD, captions.TIME, *papers, *notes, *marks]),
        Table(f"{label}, against full training {here}", against_columns(rows), freezing, PAIR,
              [captions.VERDICT, captions.SAVINGS, captions.REPLAYED, conditional, *marks]),
        Table(f"{label}, what it cost: {unit.name}, clocks, memory {here}",
              costs_columns(unit), rows, PAIR,
              [captions.CONVENTIONS, captions.TIME, captions.MEMORY]),
        Table(f"{title} {here}", compact_columns(unit, score), rows, PAIR,
              [*about, SHORT, *notes, *marks]),
        rows,
        method_rows.pooled(compared),
        score,
        equal,
        short,
    )  # fmt: skip


def paper(table: int) -> str:
    """What the columns called Paper hold."""
    return (
        f"Paper: the numbers printed in Table {table} of the SmartFRZ paper, for the models and "
        "data sets that ours stand for; its savings are computed from them."
    )


def results_columns(unit: Unit, rows: Sequence[Row], score: str = ACCURACY) -> tuple[Column, ...]:
    """The paper's own columns, ours and theirs."""
    theirs = {
        "accuracy": mean_sd(f"Paper: {lower(score)}", "published_accuracy"),
        "time_s": number("Paper: time (s)", "published_time_s", 0),
        "flops": number("Paper: comp. (TFLOPs)", "published_flops", 0, scale=TERA),
    }
    return (
        METHOD,
        SEEDS,
        mean_sd(score, "accuracy", mark="mark"),
        mean_sd("Time (s)", "time_s", mark="time_mark", digits=None),
        rounded(f"Comp. ({unit.name})", "paper_total", 4, unit.flops),
        *printed(theirs, rows),
    )


def against_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """What a method loses and saves, ours and the paper's."""
    theirs = {
        **THEIRS,
        "time_saved": percent("Paper: time saved (%)", "published_time_saved"),
        "realised": number("Paper: realised", "published_realised"),
    }
    return (
        *LOST_AND_SAVED,
        TIME_SAVED,
        percent("Replayed (%)", "replayed_saved"),
        number("Realised", "realised", mark="time_saved_mark"),
        *printed(theirs, rows),
    )


def printed(columns: Mapping[str, Column], rows: Sequence[Row]) -> list[Column]:
    """Of the paper's columns, by their key, those for which it prints a number at all."""
    return [
        column
        for key, column in columns.items()
        if any(known(row[f"published_{key}"]) for row in rows)
    ]


def _there(tables: Sequence[Table | None]) -> tuple[Table, ...]:
    return tuple(table for table in tables if table)


def lower(heading: str) -> str:
    """A heading within another one."""
    return heading[:1].lower() + heading[1:]


def costs_columns(unit: Unit) -> tuple[Column, ...]:
    """Everything that was spent."""
    return (
        METHOD,
        rounded("Paper's: forward", "paper_forward", 4, unit.flops),
        rounded("Paper's: backward", "paper_backward", 4, unit.flops),
        rounded("Paper's: total", "paper_total", 4, unit.flops),
        rounded("Exact: forward", "exact_forward", 4, unit.flops),
        rounded("Exact: backward", "exact_backward", 4, unit.flops),
        rounded("Exact: total", "exact_total", 4, unit.flops),
        rounded("Deciding (GFLOPs)", "decide_flops", 3, GIGA),
        rounded("Train (s)", "train_s", mark="time_mark"),
        rounded("Decide (s)", "decide_s", mark="time_mark"),
        rounded("Saved + state, peak (MiB)", "memory_bytes", 3, MEBI),
        rounded("CUDA, peak (MiB)", "cuda_allocated", 4, MEBI),
    )


def compact_columns(unit: Unit, score: str = ACCURACY) -> tuple[Column, ...]:
    """What a terminal has room for."""
    return (
        METHOD,
        name("Seeds", "count"),
        mean_sd(lower(score).replace("(%)", "%"), "accuracy", mark="mark"),
        interval("difference [95 %]", "difference"),
        VERDICT,
        rounded("time s", "time_s", mark="time_mark"),
        rounded(unit.name, "paper_total", 3, unit.flops),
        percent("−FLOPs %", "flops_saved", 0),
        percent("−time %", "time_saved", 0, mark="time_saved_mark"),
        number("realised", "realised", mark="time_saved_mark"),
    )
