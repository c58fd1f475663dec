"""Table 2: freezing methods against full training when fine-tuning. Results in, tables out."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from reports import caption, methods
from reports.caption import Profile
from reports.cells import cells
from reports.figures.accuracy_cost import accuracy_cost
from reports.figures.freezing_moment import freezing_moment
from reports.frame import Reader
from reports.report import Drawing, Report, file_word
from reports.table import (
    GIGA,
    TERA,
    Column,
    Table,
    Unit,
    interval,
    mean_sd,
    name,
    number,
    p_value,
    percent,
    rounded,
    unit_of,
)

NUMBER = 2
TITLE = "Table 2: freezing methods against full training, fine-tuning"
MEBI = 2.0**20

PAIR = (name("Model", "model"), name("Data", "dataset"))
METHOD = name("Method", "method")
SEEDS = name("Seeds", "seeds")
DIFFERENCE = interval("Difference (points) [95 %]", "difference")
VERDICT = name("Verdict", "verdict")

AGAINST = (
    METHOD,
    DIFFERENCE,
    VERDICT,
    percent("FLOPs saved (%)", "flops_saved"),
    percent("Exact saved (%)", "exact_saved"),
    interval("Time saved (%) [95 %]", "time_saved", "time_saved_mark", 1, 100, sign=False),
    percent("Replayed (%)", "replayed_saved"),
    number("Realised", "realised"),
    number("Paper: difference", "published_difference", sign=True),
    percent("Paper: FLOPs saved (%)", "published_flops_saved"),
    percent("Paper: time saved (%)", "published_time_saved"),
    number("Paper: realised", "published_realised"),
)
POOLED = (
    METHOD,
    name("Pairs", "pairs"),
    DIFFERENCE,
    VERDICT,
    p_value("p (no worse), Holm", "p_no_worse"),
    p_value("p (different), Holm", "p_different"),
    percent("FLOPs saved (%)", "flops_saved"),
    percent("Exact saved (%)", "exact_saved"),
    interval("Time saved (%) [95 %]", "time_saved", "", 1, 100, sign=False),
    number("Realised", "realised"),
    percent("Paper: FLOPs saved (%)", "published_flops_saved"),
    percent("Paper: time saved (%)", "published_time_saved"),
    number("Paper: realised", "published_realised"),
)
COMPACT_POOLED = (
    METHOD,
    name("pairs", "pairs"),
    interval("difference [95 %]", "difference"),
    VERDICT,
    p_value("p (no worse)", "p_no_worse"),
    percent("−FLOPs %", "flops_saved", 0),
    percent("−time %", "time_saved", 0),
    number("realised", "realised"),
    number("paper's", "published_realised"),
)

PAPER = (
    "Paper: the numbers printed in Table 2 of the SmartFRZ paper, for the models and data sets "
    "that ours stand for; its savings are computed from them."
)
SHORT = (
    "± sample standard deviation; difference to full paired by seed, t interval; non-inferior: "
    "lower end above −0.5 points. Time: train + decide. FLOPs: paper's convention. "
    "−FLOPs, −time: shares saved against full; realised: the second by the first."
)


def report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Table 2 with its accuracy against cost, and when which layer froze."""
    table = table2(frame, profile)
    return Report(
        "table2",
        TITLE,
        table.parts,
        (front(frame, profile), *freezing(frame, reader, profile)),
        frame,
        compact=(table.compact, table.compact_pooled),
        numbers={"table2": table.results, "table2_pooled": table.pooled},
    )


def front(frame: pd.DataFrame, profile: Profile) -> Drawing:
    """Accuracy against computation."""
    title = "Accuracy against computation"
    return Drawing(
        "table2_accuracy_cost",
        title,
        "Each small point is a seed, each large one a mean with its 95 % t interval. What lies "
        "left of full training saved computation; what lies above the dashed line lost no more "
        "than the margin of 0.5 points.",
        lambda: accuracy_cost(frame, profile, title),
    )


def freezing(frame: pd.DataFrame, reader: Reader, profile: Profile) -> list[Drawing]:
    """When each layer froze, a drawing a data set."""
    moments = reader.freezing(frame)

    def drawing(dataset: str) -> Drawing:
        title = f"When each layer froze, {profile.shown(dataset)}"
        here = moments[moments.dataset == dataset]
        return Drawing(
            f"table2_freezing_{file_word(dataset)}",
            title,
            "Each point is a layer of one seed at the moment it froze; layers that trained to the "
            "end stand hollow on the line “never”.",
            lambda: freezing_moment(here, profile, title),
        )

    return [drawing(dataset) for dataset in dict.fromkeys(frame.dataset)]


def results_columns(unit: Unit) -> tuple[Column, ...]:
    """The paper's own columns, ours and theirs."""
    return (
        METHOD,
        SEEDS,
        mean_sd("Accuracy (%)", "accuracy", mark="mark"),
        mean_sd("Time (s)", "time_s", mark="time_mark", digits=None),
        rounded(f"Comp. ({unit.name})", "paper_total", 4, unit.flops),
        mean_sd("Paper: accuracy (%)", "published_accuracy"),
        number("Paper: time (s)", "published_time_s", 0),
        number("Paper: comp. (TFLOPs)", "published_flops", 0, scale=TERA),
    )


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
        rounded("Train (s)", "train_s"),
        rounded("Decide (s)", "decide_s"),
        rounded("Saved + state, peak (MiB)", "memory_bytes", 3, MEBI),
        rounded("CUDA, peak (MiB)", "cuda_allocated", 4, MEBI),
    )


def compact_columns(unit: Unit) -> tuple[Column, ...]:
    """What a terminal has room for."""
    return (
        METHOD,
        name("Seeds", "count"),
        mean_sd("accuracy %", "accuracy", mark="mark"),
        interval("difference [95 %]", "difference"),
        VERDICT,
        rounded("time s", "time_s"),
        rounded(unit.name, "paper_total", 3, unit.flops),
        percent("−FLOPs %", "flops_saved", 0),
        percent("−time %", "time_saved", 0),
        number("realised", "realised"),
    )


@dataclass(frozen=True)
class Table2:
    """Table 2 in the parts it is read in; the rows of `results` and `pooled` hold every number."""

    results: Table
    against: Table
    costs: Table
    pooled: Table
    compact: Table
    compact_pooled: Table

    @property
    def parts(self) -> tuple[Table, ...]:
        """What a document shows, in order."""
        return (self.results, self.against, self.pooled, self.costs)


def table2(frame: pd.DataFrame, profile: Profile) -> Table2:
    """Build Table 2 from a frame of its runs (see reports.frame.read)."""
    groups = cells(frame)
    against = methods.compared(groups)
    rows = [methods.row(one, profile, NUMBER) for one in against]
    unit = unit_of(cell.mean("paper_total") for cell in groups)
    freezing = [row for row in rows if row["method"] != methods.FULL]
    pools = methods.pooled(against)
    pooled = methods.pooled_rows(pools, NUMBER)
    claims = methods.claims(pools)
    here = f"({profile.name} profile)"
    about = [profile.sentence, *caption.setting(groups, profile)]
    marks = [*caption.marks(groups), *caption.troubles(groups, profile)]
    return Table2(
        Table(f"{TITLE} {here}", results_columns(unit), rows, PAIR,
              [*about, caption.SPREAD, caption.TIME, PAPER, *marks]),
        Table(f"Table 2, against full training {here}", AGAINST, freezing, PAIR,
              [caption.VERDICT, caption.SAVINGS, caption.REPLAYED, caption.CONDITIONAL, *marks]),
        Table(f"Table 2, what it cost: {unit.name}, clocks, memory {here}", costs_columns(unit),
              rows, PAIR, [caption.CONVENTIONS, caption.TIME, caption.MEMORY]),
        Table(f"Table 2, pooled over the pairs of model and data {here}", POOLED, pooled, (),
              [*claims, caption.POOLED, caption.CONDITIONAL]),
        Table(f"{TITLE} {here}", compact_columns(unit), rows, PAIR, [*about, SHORT, *marks]),
        Table("Pooled over the pairs of model and data", COMPACT_POOLED, pooled, (), claims),
    )  # fmt: skip
