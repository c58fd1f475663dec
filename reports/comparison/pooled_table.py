"""Table of methods pooled over all pairs of model and data set."""

from __future__ import annotations

from dataclasses import replace

from reports.comparison import method_rows
from reports.comparison.against_full_table import (
    DETECTABLE,
    DIFFERENCE,
    METHOD,
    SHORT_VERDICT,
    VERDICT,
    AgainstFull,
    select_printed,
)
from reports.document import captions
from reports.document.difference_column import difference_column
from reports.document.profile import Profile
from reports.document.table import (
    Table,
    interval_column,
    number_column,
    p_value_column,
    percent_column,
    text_column,
)
from reports.statistics import LEAST, MARGIN

COLUMNS = (
    METHOD,
    text_column("Pairs", "pairs"),
    DIFFERENCE,
    difference_column("By model (points) [95 %]", "by_model"),
    VERDICT,
    DETECTABLE,
    p_value_column("p (no worse), Holm", "p_no_worse"),
    p_value_column("p (different), Holm", "p_different"),
    percent_column("FLOPs saved (%)", "flops_saved"),
    percent_column("Exact saved (%)", "exact_saved"),
    interval_column("Time saved (%) [95 %]", "time_saved", "time_saved_mark", 1, 100, sign=False),
    number_column("Realised", "realised", mark="time_saved_mark"),
)
PRINTED_COLUMNS = {
    "flops_saved": percent_column("Paper: FLOPs saved (%)", "published_flops_saved"),
    "time_saved": percent_column("Paper: time saved (%)", "published_time_saved"),
    "realised": number_column("Paper: realised", "published_realised"),
}
COMPACT = (
    text_column("pairs", "pairs"),
    difference_column("difference [95 %]", "widest"),
    SHORT_VERDICT,
    p_value_column("p (no worse), Holm", "p_no_worse"),
    percent_column("−FLOPs %", "flops_saved", 0),
    percent_column("−time %", "time_saved", 0, mark="time_saved_mark"),
    number_column("realised", "realised", mark="time_saved_mark"),
)
WIDEST = (
    "Difference: its interval contains the intervals over the pairs and over the models (with "
    f"fewer than {LEAST} models, only over the pairs). The verdict rests on this interval. p (no "
    "worse), Holm: one-sided p value for the null hypothesis that the loss is "
    f"{MARGIN} points or more, Holm-adjusted over the methods."
)
PRINTED_RATIO = "paper's: realised ratio, computed from the paper's numbers."
COMPACT_PRINTED = {"realised": number_column("paper's", "published_realised")}


def add_pooled(
    built: AgainstFull,
    table: int | None,
    title: str,
    profile: Profile,
    conditional: str = captions.CONDITIONAL,
) -> AgainstFull:
    """Return `built` with an added table of the methods, pooled over the pairs.

    table: number of the paper's table, whose means are shown too, or None.
    """
    rows = method_rows.build_pooled_rows(built.pools, table)
    claims = method_rows.describe_claims(built.pools)
    power = method_rows.describe_power(built.pools)
    pooled = f"{title}, pooled over the pairs of model and data"
    ratios = select_printed(COMPACT_PRINTED, rows)
    return replace(
        built,
        pooled=Table(
            f"{pooled} ({profile.name} profile)",
            (*COLUMNS, *select_printed(PRINTED_COLUMNS, rows)), rows, (),
            [*claims, captions.POOLED, conditional],
        ),
        compact_pooled=Table(
            "Pooled over the pairs of model and data",
            (METHOD, *COMPACT, *ratios), rows, (),
            [*claims, WIDEST, *[PRINTED_RATIO] * bool(ratios), *power],
        ),
    )  # fmt: skip
