"""Criteria that judge claims on accuracy, cost and time. Each has a rule in words and a function.

Differences in accuracy and shares saved are pooled if there are three or more pairs. The pooled
interval contains the interval over the means of the pairs. With three or more models, it also
contains the interval over the models (`reports.pooling.compute_widest_interval`). With fewer pairs,
the claim has to hold for each pair, by the interval of this pair. `require_decide_share`, and
`require_no_worse` with `each`, always judge every pair separately.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reports.claims import evidence, outcome_rules
from reports.claims.evidence import Frames, Intervals, MissingRunsError, PairDifferences
from reports.claims.outcome_rules import Outcome
from reports.document.difference_column import (
    DIGITS,
    MOST_DIGITS,
    THRESHOLDS,
    format_difference,
    format_ends,
)
from reports.document.table import choose_decimals, format_fixed
from reports.statistics import MARGIN, Interval

POOLED = 3  # smallest number of pairs that are pooled


@dataclass(frozen=True)
class Finding:
    """Values measured in the runs, as text, and the outcome of the claim."""

    ours: str
    outcome: Outcome


@dataclass(frozen=True)
class Criterion:
    """Criterion for a claim.

    rule: the criterion in words.
    find: function that judges the runs, given the number of parts of the claim.
    """

    rule: str
    find: Callable[[Frames, int], Finding]

    def __call__(self, frames: Frames, parts: int = 1) -> Finding:
        """Judge the runs. The outcome is "undecided" if runs are missing.

        parts: number of criteria that the claim combines, for the correction of their outcomes.
        """
        try:
            return self.find(frames, parts)
        except MissingRunsError as reason:
            return Finding(f"– ({reason})", "undecided")


def require_no_worse(table: str, ours: str, theirs: str, each: bool = False) -> Criterion:
    """Require that method `ours` loses less than the margin compared with method `theirs`.

    The margin is MARGIN points of accuracy.
    each: judge every pair separately, and never pool the pairs.
    """

    def find(frames: Frames, parts: int) -> Finding:
        found, words = _describe_points(
            evidence.compute_differences(frames, table, ours, theirs), each
        )
        return Finding(words, outcome_rules.check_above(found, -MARGIN, parts))

    return Criterion(
        f"Difference in accuracy, {ours} − {theirs}, paired by seed{_describe_pooling(each)}. "
        f"{_describe_threshold(f'−{MARGIN} points')}",
        find,
    )


def require_better(table: str, ours: str, theirs: str) -> Criterion:
    """Require that method `ours` is more accurate than method `theirs`."""

    def find(frames: Frames, parts: int) -> Finding:
        found, words = _describe_points(evidence.compute_differences(frames, table, ours, theirs))
        return Finding(words, outcome_rules.check_above(found, 0.0, parts))

    return Criterion(
        f"Difference in accuracy, {ours} − {theirs}, paired by seed{_describe_pooling()}. "
        f"{_describe_threshold('0')}",
        find,
    )


def require_saving(
    table: str, ours: str, theirs: str, key: str, what: str, least: float = 0.0
) -> Criterion:
    """Require that method `ours` saves more than the share `least` of a cost, relative to `theirs`.

    key: column of the cost.
    what: name of the cost in the rule.
    least: from 0 to 1.
    """

    def find(frames: Frames, parts: int) -> Finding:
        found, words = _describe_shares(
            evidence.compute_savings(frames, table, ours, theirs, key), least
        )
        return Finding(words, outcome_rules.check_above(found, least, parts))

    threshold = f"{format_fixed(100 * least, DIGITS if least else 0)} %"
    return Criterion(
        f"Share of {what} that {ours} saves compared with {theirs}, paired by seed"
        f"{_describe_pooling()}. {_describe_threshold(threshold)}",
        find,
    )


def require_decide_share(table: str, method: str, low: float, high: float) -> Criterion:
    """Require that decisions take a share of training time from `low` to `high`, in every pair.

    low, high: shares (0 to 1). If low is 0, only the upper limit is checked.
    """

    def find(frames: Frames, parts: int) -> Finding:
        shares = evidence.compute_decide_share(frames, table, method)
        values = [100 * share.mean for share in shares.values()]
        ends = [100 * low, 100 * high] if low else [100 * high]
        least, most = (
            format_fixed(value, choose_decimals(value, ends, DIGITS, MOST_DIGITS))
            for value in (min(values), max(values))
        )
        words = f"{least} to {most} % of training time"
        found = list(shares.values())
        outcome = (
            outcome_rules.check_between(found, low, high, parts)
            if low
            else outcome_rules.check_below(found, high, parts)
        )
        return Finding(words, outcome)

    ends = f"between {100 * low:g} and {100 * high:g} %" if low else f"below {100 * high:g} %"
    contrary = "outside this range" if low else f"above {100 * high:g} %"
    return Criterion(
        f"Share of the time in training steps and decisions that {method} spends on decisions "
        f"(CPU time; on a GPU, wall time). Holds if the interval over the seeds is {ends} for "
        "every pair of model and data set. Does not hold if the interval of any pair is entirely "
        f"{contrary}.",
        find,
    )


def require_realised(table: str, method: str, least: float) -> Criterion:
    """Require that the realised ratio is above `least`.

    The realised ratio is the share of time saved divided by the share of FLOPs saved.
    """

    def find(frames: Frames, parts: int) -> Finding:
        ratio = evidence.compute_realised(frames, table, method)
        return Finding(format_ratio(ratio, least), outcome_rules.check_above([ratio], least, parts))

    return Criterion(
        f"Share of time that {method} saves divided by share of FLOPs that it saves, mean over "
        f"the pairs of model and data set. {_describe_threshold(f'{least:g}')}",
        find,
    )


def require_all(*criteria: Criterion) -> Criterion:
    """Combine several criteria into one that requires all of them."""

    def find(frames: Frames, parts: int) -> Finding:
        found = [criterion(frames, parts * len(criteria)) for criterion in criteria]
        return Finding(
            "; ".join(f"({number}) {f.ours}" for number, f in enumerate(found, 1)),
            outcome_rules.combine_outcomes(*(f.outcome for f in found)),
        )

    rules = [f"({number}) {criterion.rule}" for number, criterion in enumerate(criteria, 1)]
    return Criterion(f"All parts must hold. {' '.join(rules)}", find)


def _describe_points(found: PairDifferences, each: bool = False) -> tuple[list[Interval], str]:
    if len(found) >= POOLED and not each:
        pooled = evidence.pool_differences(found)
        return [pooled], f"{format_interval(pooled)} points over {len(found)} pairs"
    intervals = {pair: difference.interval for pair, difference in found.items()}
    words = _join_pairs({pair: format_interval(own) for pair, own in intervals.items()})
    return list(intervals.values()), f"{words} points"


def _describe_shares(found: Intervals, least: float) -> tuple[list[Interval], str]:
    if len(found) >= POOLED:
        pooled = evidence.pool_intervals(found)
        return [pooled], f"{format_percent(pooled, least)} over {len(found)} pairs"
    return list(found.values()), _join_pairs(
        {pair: format_percent(share, least) for pair, share in found.items()}
    )


def _join_pairs(words: Mapping[tuple[str, ...], str]) -> str:
    return "; ".join(f"{model} {dataset} {text}" for (model, dataset), text in words.items())


def _describe_pooling(each: bool = False) -> str:
    if each:
        return ", for each pair of model and data set"
    return (
        ", pooled over the pairs of model and data set (not pooled if there are fewer than three)"
    )


def _describe_threshold(threshold: str) -> str:
    return (
        f"Holds if every interval is entirely above {threshold}. Does not hold if any interval is "
        "entirely below."
    )


def format_interval(interval: Interval, thresholds: Sequence[float] = THRESHOLDS) -> str:
    """Return a difference in points as "mean [low, high]", or the mean if the ends are unknown.

    thresholds: those of the rule. An end gets more digits if the usual number of digits does not
    show on which side of a threshold it lies.
    """
    return format_difference(interval.mean, interval.low, interval.high, thresholds)


def format_percent(interval: Interval, least: float) -> str:
    """Return an interval of shares (0 to 1) in percent, as "mean % [low, high]".

    least: threshold of the rule, as a share. See `format_ratio`.
    """
    ends = Interval(100 * interval.mean, 100 * interval.low, 100 * interval.high, interval.n)
    return format_ratio(ends, 100 * least, 1, " %")


def format_ratio(interval: Interval, least: float, digits: int = DIGITS, unit: str = "") -> str:
    """Return an interval as "mean [low, high]", or the mean if the ends are unknown.

    least: threshold of the rule. An end gets more digits if the usual number of digits does not
    show on which side of the threshold it lies.
    """
    words = f"{format_fixed(interval.mean, digits)}{unit}"
    if not interval.known:
        return words
    return f"{words} {format_ends(interval.low, interval.high, (least,), digits, sign=False)}"
