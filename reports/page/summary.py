"""Summary of the page, from Table 2: whether freezing pays off, and which method saves most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from bench.strategy_api.built_in import find_built_in
from reports.comparison import method_rows
from reports.comparison.against_full import Pooled
from reports.document.captions import SLOWED_MARK
from reports.document.difference_column import format_difference
from reports.document.table import DASH, format_fixed
from reports.page.dot_plots import Scale
from reports.pooling import compute_largest_p
from reports.runs.cells import build_cells
from reports.runs.run_table import DONE
from reports.statistics import LEVEL, MARGIN, MARGIN_OPEN, apply_holm, compute_p_different

LITTLE = 0.005  # share of FLOPs; a method that saves at most this much saves no computation
FARTHEST = 6 * MARGIN  # points; an interval that reaches beyond this range ends in an arrow


@dataclass(frozen=True)
class MethodResult:
    """Row of the summary table: one method, pooled over the pairs of model and data set.

    difference, flops_saved, saved: formatted text.
    low, mean, high: positions, in pixels, of the interval and its mean. Each of the three is None
    if unknown. mean is also None if it is outside the range of the plot.
    beyond_low, beyond_high: whether the interval exceeds the range, which is drawn as an arrow.
    """

    method: str
    control: bool
    verdict: str
    pays: bool
    pairs: str
    difference: str
    flops_saved: str
    saved: str
    low: float | None
    mean: float | None
    high: float | None
    beyond_low: bool
    beyond_high: bool


@dataclass(frozen=True)
class Summary:
    """Headline of the page, with the evidence for it and one result per method."""

    headline: str
    sentences: Sequence[str]  # verdict and speed-up of each method
    standings: Sequence[MethodResult]
    zero: float  # pixel of no difference
    margin: float  # pixel of the non-inferiority margin
    slowed: bool  # whether any of the runs shared their CPU


def build_summary(frame: pd.DataFrame) -> Summary:
    """Return the summary of the runs of Table 2."""
    pools = method_rows.pool_compared(method_rows.compare_cells(build_cells(frame)))
    done, wanted = int((frame.state == DONE).sum()), len(frame)
    so_far = f"Preliminary: results of {done} of {wanted} runs. " if 0 < done < wanted else ""
    methods = {name: pooled for name, pooled in pools.items() if not _is_control(name)}
    controls = {name: pooled for name, pooled in pools.items() if _is_control(name)}
    scale = Scale(-FARTHEST, FARTHEST / 3)
    return Summary(
        so_far + write_headline(methods, controls),
        method_rows.describe_claims(pools),
        [_build_result(name, pooled, scale) for name, pooled in pools.items()],
        scale.place(0),
        scale.place(-MARGIN),
        any(pooled.slowed for pooled in pools.values()),
    )


def write_headline(pools: Mapping[str, Pooled], controls: Mapping[str, Pooled]) -> str:
    """Return the headline: a few sentences on what the runs show about each method.

    A method pays off if it is non-inferior to full training and saves time, both significantly
    after Holm's correction. A method loses accuracy if its difference from full training is below 0
    and significant after the same correction. A method saves most if it saves significantly more
    time over the pairs than every other method that pays off. A control is named only if it is
    non-inferior too.
    """
    if not any(pooled.pairs for pooled in pools.values()):
        return "No conclusion yet, because no method can be compared with full training."
    paying = {name: pooled for name, pooled in pools.items() if pooled.faster}
    kept = {name: pooled for name, pooled in pools.items() if pooled.no_worse and not pooled.faster}
    lost = [
        name
        for name, pooled in pools.items()
        if pooled.verdict in ("inferior", MARGIN_OPEN) and pooled.p_different < 1 - LEVEL
    ]
    undecided = [name for name in pools if name not in (*paying, *kept, *lost)]
    sentences = [
        _describe_paying(paying)
        if paying
        else "No method is shown to save training time without losing accuracy.",
        *map(_describe_kept, _split_by_saving(kept)),
        f"{_join_words(lost)} lose{'s' * (len(lost) == 1)} accuracy." if lost else "",
        f"The runs cannot tell whether {_join_words(undecided)} lose{'s' * (len(undecided) == 1)} "
        "accuracy."
        if undecided
        else "",
        _describe_controls(controls),
    ]
    return " ".join(filter(None, sentences))


def _describe_paying(paying: Mapping[str, Pooled]) -> str:
    """Return the sentences on the methods that pay off. `paying` has at least one method."""
    saved = {
        name: f"{format_fixed(100 * pooled.time_saved.mean, 0)} %"
        for name, pooled in paying.items()
    }
    best, *others = sorted(paying, key=lambda name: -paying[name].time_saved.mean)
    without_loss = f"of the training time and loses less than {MARGIN} points of accuracy."
    if not others:
        return f"Freezing pays off with {best}, which saves {saved[best]} {without_loss}"
    if _is_ahead(paying[best], [paying[name] for name in others]):
        tail = f" {_join_words(others)} also pay{'s' * (len(others) == 1)} off."
        return (
            f"Freezing pays off, and {best} saves most. It saves {saved[best]} {without_loss}{tail}"
        )
    each = _join_words([f"{name} ({saved[name]})" for name in (best, *others)])
    return (
        f"Freezing pays off: {each} save training time and lose less than {MARGIN} points of "
        "accuracy. The data cannot tell which of them saves most."
    )


def _split_by_saving(pools: Mapping[str, Pooled]) -> list[dict[str, Pooled]]:
    """Return two groups: methods that save computation, and methods that save none.

    Empty groups are left out.
    """
    groups: dict[bool, dict[str, Pooled]] = {False: {}, True: {}}
    for name, pooled in pools.items():
        groups[pooled.exact_saved <= LITTLE][name] = pooled
    return [group for group in groups.values() if group]


def _describe_kept(kept: Mapping[str, Pooled]) -> str:
    """Return the sentence on methods that keep their accuracy without a claimed speed-up.

    kept: a group of `_split_by_saving`.
    """
    saved = {
        name: f"{format_fixed(100 * pooled.exact_saved, 0)} %" for name, pooled in kept.items()
    }
    s = "s" * (len(kept) == 1)
    each = _join_words([f"{name} ({share} of the FLOPs)" for name, share in saved.items()])
    words = f"{each} save computation and lose"
    if all(pooled.exact_saved <= LITTLE for pooled in kept.values()):
        words = f"{_join_words(list(kept))} save{s} no computation and lose{s}"
    elif len(kept) == 1:
        (name,) = kept
        words = f"{name} saves {saved[name]} of the FLOPs and loses"
    words += f" less than {MARGIN} points of accuracy, but"
    if any(pooled.slowed for pooled in kept.values()):
        return (
            f"{words} no speed-up is claimed, because some runs probably shared their CPU with "
            "another process."
        )
    if all(pooled.slower for pooled in kept.values()):
        return f"{words} take{s} more time than full training."
    return f"{words} no time saving is shown."


def _describe_controls(controls: Mapping[str, Pooled]) -> str:
    """Return sentences on the controls that are non-inferior, or ""."""
    paying = [name for name, pooled in controls.items() if pooled.faster]
    kept = {
        name: pooled for name, pooled in controls.items() if pooled.no_worse and not pooled.faster
    }
    sentences = []
    if paying:
        s = "s" * (len(paying) == 1)
        sentences.append(f"{_name_controls(paying)} pay{s} off.")
    for group in _split_by_saving(kept):
        saved = [pooled.exact_saved for pooled in group.values()]
        shares = _join_words([f"{format_fixed(100 * share, 0)} %" for share in saved])
        none = all(share <= LITTLE for share in saved)
        what = "no computation" if none else f"{shares} of the FLOPs"
        s = "s" * (len(group) == 1)
        sentences.append(
            f"{_name_controls(list(group))} lose{s} less than {MARGIN} points of accuracy and "
            f"save{s} {what}."
        )
    return " ".join(sentences)


def _name_controls(names: Sequence[str]) -> str:
    return f"The simple control{'s' * (len(names) > 1)} {_join_words(names)}"


def _join_words(words: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _is_ahead(best: Pooled, others: Sequence[Pooled]) -> bool:
    """Return whether `best` saves significantly more time than each other method.

    The p values are Holm-adjusted over the other methods.
    """
    p = {
        i: compute_largest_p(
            compute_p_different, {pair: best.saved[pair] - other.saved[pair] for pair in best.saved}
        )
        for i, other in enumerate(others)  # Pooled.faster requires the times of all pairs
    }
    return all(value < 1 - LEVEL for value in apply_holm(p).values())


def _build_result(name: str, pooled: Pooled, scale: Scale) -> MethodResult:
    d, s = pooled.widest, pooled.time_saved  # the verdict rests on the widest interval
    return MethodResult(
        name,
        _is_control(name),
        pooled.verdict,
        pooled.faster,
        method_rows.format_pairs(pooled),
        format_difference(d.mean, d.low, d.high),
        f"{format_fixed(100 * pooled.exact_saved, 1)} %" if pooled.pairs else DASH,
        f"{format_fixed(100 * s.mean, 1)} %{f' {SLOWED_MARK}' * bool(pooled.slowed)}"
        if s.n
        else DASH,
        scale.place(d.low) if d.known else None,
        scale.place(d.mean) if scale.low <= d.mean <= scale.high else None,
        scale.place(d.high) if d.known else None,
        d.low < scale.low,
        d.high > scale.high,
    )


def _is_control(method: str) -> bool:
    """Return whether a method is a control. The headline judges controls separately."""
    facts = find_built_in().get(method)
    return facts is not None and facts.is_control
