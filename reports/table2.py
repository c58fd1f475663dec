"""Table 2: freezing methods against full training when fine-tuning. Results in, tables out."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from reports import caption, methods
from reports.against_full import DIFFERENCE, METHOD, VERDICT, AgainstFull, against_full
from reports.caption import Profile
from reports.figures.freezing_moment import freezing_moment
from reports.frame import Reader
from reports.fronts import front
from reports.report import Drawing, Report, file_word
from reports.table import Table, interval, name, number, p_value, percent

NUMBER = 2
TITLE = "Table 2: freezing methods against full training, fine-tuning"

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


def report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Table 2 with its accuracy against cost, and when which layer froze."""
    drawings = (front("table2", frame, profile), *freezing(frame, reader, profile))
    return table2(frame, profile).report("table2", TITLE, frame, *drawings)


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


def table2(frame: pd.DataFrame, profile: Profile) -> AgainstFull:
    """Build Table 2 from a frame of its runs (see reports.frame.read)."""
    built = against_full(frame, profile, NUMBER, TITLE)
    rows = methods.pooled_rows(built.pools, NUMBER)
    claims = methods.claims(built.pools)
    title = f"Table 2, pooled over the pairs of model and data ({profile.name} profile)"
    notes = [*claims, caption.POOLED, caption.CONDITIONAL]
    return replace(
        built,
        pooled=Table(title, POOLED, rows, (), notes),
        compact_pooled=Table(
            "Pooled over the pairs of model and data", COMPACT_POOLED, rows, (), claims
        ),
    )
