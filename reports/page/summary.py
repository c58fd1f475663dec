"""The reader's first question, answered from Table 2: does freezing pay, and which method most?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from bench.strategy_api.built_in import find_built_in
from reports.comparison import method_rows
from reports.comparison.against_full import Pooled
from reports.document.table import DASH, format_fixed
from reports.page.dot_plots import Scale
from reports.runs.cells import build_cells
from reports.runs.run_table import DONE
from reports.statistics import LEVEL, MARGIN, apply_holm, compute_p_different

FARTHEST = 6 * MARGIN  # an interval that reaches farther is drawn with an arrow


@dataclass(frozen=True)
class MethodResult:
    """One method, pooled over the pairs of model and data."""

    method: str
    control: bool
    verdict: str
    pays: bool
    pairs: str
    difference: str
    saved: str
    # Pixels of the interval's ends and mean; None without an interval. Arrows: it goes on.
    low: float | None
    mean: float | None
    high: float | None
    beyond_low: bool
    beyond_high: bool


@dataclass(frozen=True)
class Summary:
    """A headline, what it rests on, and where each method stands."""

    headline: str
    sentences: Sequence[str]
    standings: Sequence[MethodResult]
    zero: float
    margin: float


def build_answer(frame: pd.DataFrame) -> Summary:
    """Answer from the runs of Table 2."""
    pools = method_rows.pool_compared(method_rows.compare_cells(build_cells(frame)))
    done, wanted = int((frame.state == DONE).sum()), len(frame)
    so_far = f"So far, with {done} of {wanted} runs: " if 0 < done < wanted else ""
    scale = Scale(-FARTHEST, FARTHEST / 3)
    return Summary(
        so_far
        + write_headline({name: one for name, one in pools.items() if not _is_control(name)}),
        method_rows.describe_claims(pools),
        [_build_result(name, one, scale) for name, one in pools.items()],
        scale.place(0),
        scale.place(-MARGIN),
    )


NONE = " All that ran lose too much accuracy or take more time."


def write_headline(pools: Mapping[str, Pooled]) -> str:
    """One sentence or two. A method pays if it is no worse than full training by the margin and
    saves time beyond chance, both after Holm's correction; one pays most if it saves more than each
    other that pays, beyond chance over the pairs.
    """
    if not any(one.pairs for one in pools.values()):
        return "No runs yet: nothing can be said."
    paying = {name: one for name, one in pools.items() if one.faster}
    if not paying:
        close = [
            name
            for name, one in pools.items()
            if one.verdict in ("non-inferior", "inconclusive") and not one.slower
        ]
        tail = f" Not decided: {', '.join(close)}." if close else NONE
        if any(one.slowed for one in pools.values()):
            tail += " Something else ran on the same CPU, so that times tell nothing."
        return f"No method is shown to pay: none to be both no worse and faster here.{tail}"
    saved = {
        name: f"{format_fixed(100 * one.time_saved.mean, 0)} %" for name, one in paying.items()
    }
    best, *others = sorted(paying, key=lambda name: -paying[name].time_saved.mean)
    without_loss = f"of the time and loses less than {MARGIN} points of accuracy."
    if not others:
        return f"Freezing pays with {best}: it saves {saved[best]} {without_loss}"
    if _is_ahead(paying[best], [paying[name] for name in others]):
        tail = f" {', '.join(others)} pay{'s' * (len(others) == 1)} too."
        return f"Freezing pays, and {best} pays most: it saves {saved[best]} {without_loss}{tail}"
    each = ", ".join(f"{name} ({saved[name]})" for name in (best, *others))
    return (
        f"Freezing pays: {each} each save time and lose less than {MARGIN} points of accuracy; "
        "which saves most is not told apart."
    )


def _is_ahead(best: Pooled, others: Sequence[Pooled]) -> bool:
    """Whether it saves more time than each of the others, beyond chance, after Holm."""
    p = {
        i: compute_p_different([best.saved[pair] - one.saved[pair] for pair in best.saved])
        for i, one in enumerate(others)  # who pays has the times of all pairs
    }
    return all(value < 1 - LEVEL for value in apply_holm(p).values())


def _build_result(name: str, one: Pooled, scale: Scale) -> MethodResult:
    d, s = one.difference, one.time_saved
    interval = (
        f" [{format_fixed(d.low, 2, sign=True)}, {format_fixed(d.high, 2, sign=True)}]"
        if d.known
        else ""
    )
    return MethodResult(
        name,
        _is_control(name),
        one.verdict,
        one.faster,
        method_rows.format_pairs(one),
        format_fixed(d.mean, 2, sign=True) + interval,
        f"{format_fixed(100 * s.mean, 1)} %{', CPU shared' * bool(one.slowed)}" if s.n else DASH,
        scale.place(d.low) if d.known else None,
        scale.place(d.mean) if scale.low <= d.mean <= scale.high else None,
        scale.place(d.high) if d.known else None,
        d.low < scale.low,
        d.high > scale.high,
    )


def _is_control(method: str) -> bool:
    """Whether a method is a control, which the headline never names as the best."""
    facts = find_built_in().get(method)
    return facts is not None and facts.is_control
