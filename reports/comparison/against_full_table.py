"""Tables that compare methods with full training: results, differences, savings and costs.

Tables 2, 3, 6 and 7 have this form. Table 1 and the tables of users' sweeps differ slightly. A
column for the paper's numbers exists only if the paper prints numbers for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from bench.spec import FULL
from reports.comparison import method_rows
from reports.comparison.against_full import Pooled
from reports.comparison.equal_cost_table import build_equal_cost
from reports.document import captions
from reports.document.autofreeze_note import describe_short_intervals
from reports.document.difference_column import difference_column
from reports.document.profile import Profile
from reports.document.report import ACCURACY, Drawing, Report
from reports.document.table import (
    DASH,
    GIGA,
    MEBI,
    PAIR_COLUMNS,
    TERA,
    Column,
    Row,
    Table,
    Unit,
    Value,
    choose_unit,
    format_significant,
    interval_column,
    is_known,
    mean_sd_column,
    number_column,
    percent_column,
    rounded_column,
    text_column,
)
from reports.runs.cells import build_cells
from reports.runs.run_energy import ENERGY
from reports.statistics import MARGIN_OPEN

WITH_ONCE = (2, 3, 6, 7)  # tables whose controls include AutoFreeze with one interval per epoch

METHOD = text_column("Method", "method")
SEEDS = text_column("Seeds", "seeds")
DIFFERENCE = difference_column("Difference (points) [95 %]", "difference")  # over the pairs
BY_SEED = difference_column(DIFFERENCE.head, "difference", method_rows.format_missing_seeds)
VERDICT = text_column("Verdict", "verdict")
SHORT_VERDICTS: Mapping[Value, str] = {MARGIN_OPEN: "worse, open"}
SHORT_VERDICT = Column(
    "Verdict",
    lambda row: str(SHORT_VERDICTS.get(row["verdict"], row["verdict"]) or DASH),
    right=False,
)
DETECTABLE = number_column("Detectable (points)", "detectable")

# Columns that every comparison with full training has.
LOST_AND_SAVED = (
    METHOD,
    BY_SEED,
    VERDICT,
    DETECTABLE,
    percent_column("FLOPs saved (%)", "flops_saved"),
    percent_column("Exact saved (%)", "exact_saved"),
)
TIME_SAVED = interval_column(
    "Time saved (%) [95 %]", "time_saved", "time_saved_mark", 1, 100, sign=False
)
PRINTED_COLUMNS = {
    "difference": number_column("Paper: difference", "published_difference", sign=True),
    "flops_saved": percent_column("Paper: FLOPs saved (%)", "published_flops_saved"),
}

SHORT = (
    "± is the sample standard deviation over seeds. Difference: accuracy minus that of full "
    "training, paired by seed, with a 95 % interval over seeds and test draw. (n=4): only 4 seeds "
    "have a result of both the method and full training. Non-inferior: the lower end of the "
    "interval is above −0.5 points. Worse, open: the interval is below 0 and contains −0.5. Time: "
    "training + decisions. FLOPs: paper's convention. −FLOPs, −time: share saved relative to full "
    "training. Realised: share of time saved / share of FLOPs saved."
)


@dataclass(frozen=True)
class AgainstFull:
    """Parts of a report that compares methods with full training.

    rows: all numbers of each cell.
    pools: pooled results of each method.
    """

    results: Table
    against: Table
    costs: Table
    compact: Table
    rows: Sequence[Row]
    pools: Mapping[str, Pooled]
    score: str
    equal_cost: Table | None = None  # if the table has matched runs
    compact_equal_cost: Table | None = None
    pooled: Table | None = None  # if there are several pairs of model and data
    compact_pooled: Table | None = None

    @property
    def parts(self) -> tuple[Table, ...]:
        """Tables of the Markdown, LaTeX and HTML output, in order."""
        several = (self.results, self.against, self.pooled, self.equal_cost, self.costs)
        return tuple(filter(None, several))

    def make_report(self, name: str, title: str, frame: pd.DataFrame, *drawings: Drawing) -> Report:
        """Return the report that consists of these parts.

        name: name of the table, such as "table2".
        frame: one row per run.
        """
        numbers = {
            name: self.results,
            f"{name}_pooled": self.pooled,
            f"{name}_equal_cost": self.equal_cost,
        }
        compact = self.compact, self.compact_pooled, self.compact_equal_cost
        return Report(
            name,
            title,
            self.parts,
            drawings,
            frame,
            compact=tuple(filter(None, compact)),
            numbers={stem: part for stem, part in numbers.items() if part},
            score=self.score,
        )


def build_against_full(
    frame: pd.DataFrame,
    profile: Profile,
    table: int | None,
    title: str,
    notes: Sequence[str] = (),
    score: str = ACCURACY,
    conditional: str = captions.CONDITIONAL,
) -> AgainstFull:
    """Build the tables that compare methods with full training.

    frame: one row per run (see reports.runs.run_table).
    table: number of the paper's table, or None.
    notes: notes of this table alone.
    score: column heading for the scores of the runs.
    conditional: note on the variation that the intervals do not cover.
    """
    groups = build_cells(frame)
    against = method_rows.compare_cells(groups)
    rows = [method_rows.build_row(compared, profile, table) for compared in against]
    unit = choose_unit(cell.mean("paper_total") for cell in groups)
    freezing = [row for row in rows if row["method"] != FULL]
    here = f"({profile.name} profile)"
    label = title if table is None else f"Table {table}"
    printed = [] if table is None else [describe_printed_columns(table)]
    about = [profile.sentence, *captions.describe_devices_and_predictor(groups, profile)]
    notes = [*notes, *describe_short_intervals(groups, profile, has_control=table in WITH_ONCE)]
    few = method_rows.describe_sources(against, profile)
    marks = [*captions.explain_marks(groups), *captions.list_failures(groups, profile)]
    equal, short = build_equal_cost(groups, profile, f"{label}, at equal cost {here}")
    return AgainstFull(
        Table(f"{title} {here}", build_results_columns(unit, rows, score), rows, PAIR_COLUMNS,
              [*about, captions.SPREAD, captions.TIME, captions.COMPUTATION, *printed, *notes,
               *marks]),
        Table(f"{label}, against full training {here}", build_against_columns(rows), freezing,
              PAIR_COLUMNS,
              [captions.VERDICT, captions.SAVINGS, captions.REPLAYED, conditional, *few, *marks]),
        Table(f"{label}, costs: FLOPs (in {unit.name}), time, memory and energy {here}",
              build_cost_columns(unit), rows, PAIR_COLUMNS,
              [captions.CONVENTIONS, captions.TIME, captions.MEMORY, captions.ENERGY]),
        Table(f"{title} {here}", build_compact_columns(unit, score), rows, PAIR_COLUMNS,
              [*about, SHORT, *notes, *few, *marks]),
        rows,
        method_rows.pool_compared(against),
        score,
        equal,
        short,
    )  # fmt: skip


def describe_printed_columns(table: int) -> str:
    """Return the note that explains the columns with the paper's numbers.

    table: number of the paper's table.
    """
    return (
        f"Paper: the numbers printed in Table {table} of the SmartFRZ paper, for the original "
        "models and data sets. The paper's savings are computed from these numbers."
    )


def build_results_columns(
    unit: Unit, rows: Sequence[Row], score: str = ACCURACY
) -> tuple[Column, ...]:
    """Return the columns for our results, and for those that the paper prints."""
    printed = {
        "accuracy": mean_sd_column(f"Paper: {lower_first(score)}", "published_accuracy"),
        "time_s": number_column("Paper: time (s)", "published_time_s", 0),
        "flops": number_column("Paper: comp. (TFLOPs)", "published_flops", 0, scale=TERA),
    }
    return (
        METHOD,
        SEEDS,
        mean_sd_column(score, "accuracy", mark="mark"),
        mean_sd_column("Time (s)", "time_s", mark="time_mark", digits=None),
        rounded_column(f"Comp. ({unit.name})", "paper_total", 4, unit.flops),
        *select_printed(printed, rows),
    )


def build_against_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """Return the columns for our differences and savings, and for those that the paper prints."""
    printed = {
        **PRINTED_COLUMNS,
        "time_saved": percent_column("Paper: time saved (%)", "published_time_saved"),
        "realised": number_column("Paper: realised", "published_realised"),
    }
    return (
        *LOST_AND_SAVED,
        TIME_SAVED,
        Column("Replayed (%)", method_rows.format_replayed, key="replayed_saved"),
        number_column("Realised", "realised", mark="time_saved_mark"),
        *select_printed(printed, rows),
    )


def select_printed(columns: Mapping[str, Column], rows: Sequence[Row]) -> list[Column]:
    """Return the columns for which the paper prints at least one number.

    columns: columns by the key of their numbers in a row, without the prefix `published_`.
    """
    return [
        column
        for key, column in columns.items()
        if any(is_known(row[f"published_{key}"]) for row in rows)
    ]


def lower_first(heading: str) -> str:
    """Return a heading with its first letter in lower case."""
    return heading[:1].lower() + heading[1:]


def build_cost_columns(unit: Unit) -> tuple[Column, ...]:
    """Return the columns for FLOPs, times and memory."""
    return (
        METHOD,
        rounded_column("Paper's: forward", "paper_forward", 4, unit.flops),
        rounded_column("Paper's: backward", "paper_backward", 4, unit.flops),
        rounded_column("Paper's: total", "paper_total", 4, unit.flops),
        rounded_column("Exact: forward", "exact_forward", 4, unit.flops),
        rounded_column("Exact: backward", "exact_backward", 4, unit.flops),
        rounded_column("Exact: total", "exact_total", 4, unit.flops),
        rounded_column("Executed: total", "executed_total", 4, unit.flops),
        rounded_column("Deciding (GFLOPs)", "decide_flops", 3, GIGA),
        rounded_column("Train (s)", "train_s", mark="time_mark"),
        rounded_column("Decide (s)", "decide_s", mark="time_mark"),
        rounded_column("Saved + state, peak (MiB)", "memory_bytes", 3, MEBI),
        rounded_column("CUDA, peak (MiB)", "cuda_allocated", 4, MEBI),
        Column("Energy (J)", format_energy, key="energy_j"),
    )


def format_energy(row: Row) -> str:
    """Return the energy of a row with the idle power of the device before the runs, or DASH."""
    if not is_known(row["energy_j"]):
        return DASH
    joules, watts = (format_significant(row[key], 4) for key in ENERGY)
    return f"{joules} (idle {watts} W)"


def format_few_seeds(row: Row) -> str:
    """Return " (n=4)" if a difference is based on fewer seeds than wanted, otherwise ""."""
    return method_rows.format_missing_seeds(row, " (n={paired})")


def build_compact_columns(unit: Unit, score: str = ACCURACY) -> tuple[Column, ...]:
    """Return the few columns that fit into a terminal."""
    return (
        METHOD,
        text_column("Seeds", "count"),
        mean_sd_column(lower_first(score).replace("(%)", "%"), "accuracy", mark="mark"),
        difference_column("difference [95 %]", "difference", format_few_seeds),
        SHORT_VERDICT,
        rounded_column("time s", "time_s", mark="time_mark"),
        rounded_column(unit.name, "paper_total", 3, unit.flops),
        percent_column("−FLOPs %", "flops_saved", 0),
        percent_column("−time %", "time_saved", 0, mark="time_saved_mark"),
        number_column("realised", "realised", mark="time_saved_mark"),
    )
