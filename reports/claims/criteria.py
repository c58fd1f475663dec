"""Ways to judge a claim: each is a sentence that says the rule, and the rule.

Where there are three pairs of model and data or more they are pooled (a t interval over the
pairs' means); below that each pair has to hold by itself, with its interval over the seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reports.claims import evidence, verdict_rules
from reports.claims.evidence import Frames, Intervals, MissingRunsError
from reports.claims.verdict_rules import ClaimResult
from reports.document.table import format_fixed
from reports.statistics import MARGIN, Interval

POOLED = 3  # pairs from which on they are pooled


@dataclass(frozen=True)
class Finding:
    """What was found here, in words, and whether the claim holds."""

    ours: str
    verdict: ClaimResult


@dataclass(frozen=True)
class Criterion:
    """`rule` says what `find` does."""

    rule: str
    find: Callable[[Frames], Finding]

    def __call__(self, frames: Frames) -> Finding:
        """What the runs say; without all of them nothing can be told."""
        try:
            return self.find(frames)
        except MissingRunsError as reason:
            return Finding(f"– ({reason})", "cannot be told")


def require_no_worse(table: str, ours: str, theirs: str, each: bool = False) -> Criterion:
    """A method loses no more than the margin against another. each: in every pair by itself."""

    def find(frames: Frames) -> Finding:
        found, words = _describe_points(
            evidence.compute_differences(frames, table, ours, theirs), each
        )
        return Finding(words, verdict_rules.check_above(found, -MARGIN))

    return Criterion(
        f"Accuracy, {ours} − {theirs}, paired by seed{_describe_pooling(each)}: holds if the "
        "interval lies "
        f"above −{MARGIN} points, not if below.",
        find,
    )


def require_better(table: str, ours: str, theirs: str) -> Criterion:
    """A method is more accurate than another."""

    def find(frames: Frames) -> Finding:
        found, words = _describe_points(evidence.compute_differences(frames, table, ours, theirs))
        return Finding(words, verdict_rules.check_above(found, 0.0))

    return Criterion(
        f"Accuracy, {ours} − {theirs}, paired by seed{_describe_pooling()}: holds if the interval "
        "lies above "
        "0, not if below.",
        find,
    )


def require_saving(
    table: str, ours: str, theirs: str, key: str, what: str, least: float = 0.0
) -> Criterion:
    """A method saves more than a share of a cost against another."""

    def find(frames: Frames) -> Finding:
        found, words = _describe_shares(evidence.compute_savings(frames, table, ours, theirs, key))
        return Finding(words, verdict_rules.check_above(found, least))

    return Criterion(
        f"Share of {what} that {ours} saves against {theirs}, paired by seed{_describe_pooling()}: "
        "holds if "
        f"the interval lies above {format_fixed(100 * least, 0)} %, not if below.",
        find,
    )


def require_decide_share(table: str, method: str, low: float, high: float) -> Criterion:
    """Deciding takes between two shares of training time, in every pair."""

    def find(frames: Frames) -> Finding:
        shares = evidence.compute_decide_share(frames, table, method)
        values = [100 * one.mean for one in shares.values()]
        words = f"{format_fixed(min(values))} to {format_fixed(max(values))} % of training time"
        found = list(shares.values())
        verdict = (
            verdict_rules.check_between(found, low, high)
            if low
            else verdict_rules.check_below(found, high)
        )
        return Finding(words, verdict)

    ends = f"between {100 * low:g} and {100 * high:g} %" if low else f"below {100 * high:g} %"
    return Criterion(
        f"Decide clock over train + decide (CPU time; on a GPU, wall time), {method}: holds if in "
        f"every pair the interval over the seeds lies {ends}, not if one lies outside.",
        find,
    )


def require_realised(table: str, method: str, least: float) -> Criterion:
    """Time is saved nearly as computation is."""

    def find(frames: Frames) -> Finding:
        one = evidence.compute_realised(frames, table, method)
        return Finding(format_interval(one, sign=False), verdict_rules.check_above([one], least))

    return Criterion(
        f"Share of time saved over share of FLOPs saved, {method}, over the pairs: holds if the "
        f"interval lies above {least:g}, not if below.",
        find,
    )


def require_all(*criteria: Criterion) -> Criterion:
    """A claim in several parts."""

    def find(frames: Frames) -> Finding:
        found = [criterion(frames) for criterion in criteria]
        return Finding(
            "; ".join(f.ours for f in found),
            verdict_rules.combine_verdicts(*(f.verdict for f in found)),
        )

    return Criterion(" And: ".join(criterion.rule for criterion in criteria), find)


def _describe_points(found: Intervals, each: bool = False) -> tuple[list[Interval], str]:
    if len(found) >= POOLED and not each:
        one = evidence.pool_intervals(found)
        return [one], f"{format_interval(one)} points over {one.n} pairs"
    return list(found.values()), _join_pairs(
        {pair: format_interval(one) for pair, one in found.items()}
    )


def _describe_shares(found: Intervals) -> tuple[list[Interval], str]:
    if len(found) >= POOLED:
        one = evidence.pool_intervals(found)
        return [one], f"{format_percent(one)} over {one.n} pairs"
    return list(found.values()), _join_pairs(
        {pair: format_percent(one) for pair, one in found.items()}
    )


def _join_pairs(words: Mapping[tuple[str, ...], str]) -> str:
    return "; ".join(f"{model} {dataset} {text}" for (model, dataset), text in words.items())


def _describe_pooling(each: bool = False) -> str:
    return ", in every pair" if each else " (pooled over the pairs; below three, in every pair)"


def format_interval(one: Interval, sign: bool = True) -> str:
    """An interval in words."""
    mean, low, high = (format_fixed(value, 2, sign) for value in (one.mean, one.low, one.high))
    return f"{mean} [{low}, {high}]"


def format_percent(one: Interval) -> str:
    """An interval of shares in words, percent."""
    mean, low, high = (format_fixed(100 * value, 1) for value in (one.mean, one.low, one.high))
    return f"{mean} % [{low}, {high}]"
