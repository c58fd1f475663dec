"""Methods over all pairs of model and data together: the headline of a table of several pairs."""

from __future__ import annotations

from dataclasses import replace

from reports.comparison import method_rows
from reports.comparison.against_full_table import DIFFERENCE, METHOD, VERDICT, AgainstFull, printed
from reports.document import captions
from reports.document.profile import Profile
from reports.document.table import Table, interval, name, number, p_value, percent

COLUMNS = (
    METHOD,
    name("Pairs", "pairs"),
    DIFFERENCE,
    VERDICT,
    p_value("p (no worse), Holm", "p_no_worse"),
    p_value("p (different), Holm", "p_different"),
    percent("FLOPs saved (%)", "flops_saved"),
    percent("Exact saved (%)", "exact_saved"),
    interval("Time saved (%) [95 %]", "time_saved", "time_saved_mark", 1, 100, sign=False),
    number("Realised", "realised", mark="time_saved_mark"),
)
PAPERS = {
    "flops_saved": percent("Paper: FLOPs saved (%)", "published_flops_saved"),
    "time_saved": percent("Paper: time saved (%)", "published_time_saved"),
    "realised": number("Paper: realised", "published_realised"),
}
COMPACT = (
    name("pairs", "pairs"),
    interval("difference [95 %]", "difference"),
    VERDICT,
    p_value("p (no worse)", "p_no_worse"),
    percent("−FLOPs %", "flops_saved", 0),
    percent("−time %", "time_saved", 0, mark="time_saved_mark"),
    number("realised", "realised", mark="time_saved_mark"),
)
COMPACT_PAPERS = {"realised": number("paper's", "published_realised")}


def with_pooled(
    built: AgainstFull,
    table: int | None,
    title: str,
    profile: Profile,
    conditional: str = captions.CONDITIONAL,
) -> AgainstFull:
    """A table with its methods pooled, beside the means of the paper's table, if of one."""
    rows = method_rows.pooled_rows(built.pools, table)
    claims = method_rows.claims(built.pools)
    pooled = f"{title}, pooled over the pairs of model and data"
    return replace(
        built,
        pooled=Table(
            f"{pooled} ({profile.name} profile)", (*COLUMNS, *printed(PAPERS, rows)), rows, (),
            [*claims, captions.POOLED, conditional],
        ),
        compact_pooled=Table(
            "Pooled over the pairs of model and data",
            (METHOD, *COMPACT, *printed(COMPACT_PAPERS, rows)), rows, (), claims,
        ),
    )  # fmt: skip
