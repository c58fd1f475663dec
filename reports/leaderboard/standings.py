"""Standing of each method: hypervolume, rank, and comparison with the controls at equal cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from reports import pooling, statistics
from reports.comparison.paired_difference import PairedDifference, average_seeds
from reports.leaderboard.contestants import CONTROLS, Contestant, Point
from reports.leaderboard.control_curves import compare_with_curve, is_comparable
from reports.leaderboard.hypervolume import (
    compute_hypervolume,
    compute_mean_interval,
    compute_rank_ranges,
    compute_ranks,
    order_by_mean,
)
from reports.sampling import DrawVariance, Pair
from reports.statistics import LEAST, ONE_SIDED, Interval

BEATS, LOSES, UNDECIDED, NOT_TESTED = "beats all", "worse", "undecided", "not tested"


@dataclass(frozen=True)
class Standing:
    """Results of one contestant over the pairs of model and data set.

    saved: mean share of full training's cost that is saved at the defaults.
    difference: accuracy minus that of full training at the defaults, in points.
    hypervolume: mean over the models.
    rank: NaN for controls, for oracles and for methods without all runs. Methods with equal means
    share the mean of their ranks.
    rank_range: ends of the central range of the rank over all resamples of the models.
    against: difference in accuracy from each control at equal cost over the pairs, in points, by
    the control's name.
    compared: number of pairs in each of these differences. A pair counts only if all runs of the
    control have results.
    beyond: number of pairs in which a run costs less than every control.
    p_better: one-sided p of the hypothesis that at least one control is as good, Holm-adjusted over
    the methods.
    p_worse: one-sided p of the hypothesis that no control is better, Holm-adjusted likewise.
    outcome: BEATS, LOSES, UNDECIDED or NOT_TESTED.
    worse_than: controls that are better after the same correction; empty unless the outcome is
    LOSES.
    """

    contestant: Contestant
    saved: float
    difference: Interval
    hypervolume: Interval
    rank: float
    rank_range: tuple[float, float]
    against: Mapping[str, Interval]
    compared: Mapping[str, int]
    beyond: int
    p_better: float
    p_worse: float
    outcome: str
    worse_than: Sequence[str]


ControlDifferences = Mapping[str, Mapping[Pair, PairedDifference]]  # by control
PByControl = Mapping[str, float]  # one-sided p by control


def compute_standings(contestants: Mapping[str, Contestant]) -> list[Standing]:
    """Return the standings, the largest hypervolume first.

    Contestants without all runs, or without runs on a pair that others have, come last and have no
    rank.
    """
    volumes = {name: _compute_volumes(contestant) for name, contestant in contestants.items()}
    every = {pair for pairs in volumes.values() for pair in pairs}
    unfinished = {
        name
        for name, contestant in contestants.items()
        if contestant.runs[0] < contestant.runs[1] or volumes[name].keys() < every
    }
    order = sorted(order_by_mean(volumes), key=lambda name: name in unfinished)
    ranked = {
        name: volumes[name]
        for name, contestant in contestants.items()
        if not (contestant.is_control or contestant.is_oracle or name in unfinished)
    }
    ranks, ranges = compute_ranks(ranked), compute_rank_ranges(ranked)
    controls = [contestants[name] for name in CONTROLS if name in contestants]
    found = {
        name: _compare_with_controls(contestant, controls)
        for name, contestant in contestants.items()
        if not contestant.is_control
    }
    whole = all(control.complete for control in controls) and len(controls) == len(CONTROLS)
    tested = {
        name: differences if whole and _is_testable(contestants[name], differences) else {}
        for name, differences in found.items()
    }
    above, below = (
        {name: compute_p_values(pairs, sign) for name, pairs in tested.items()} for sign in (1, -1)
    )
    # Methods that cannot be tested yet count in the correction.
    better, worse = (
        statistics.apply_holm({name: combine(p) for name, p in each.items()}, len(found))
        for combine, each in ((compute_p_better, above), (compute_p_worse, below))
    )
    return [
        _build_standing(
            contestants[name],
            volumes[name],
            ranks.get(name, math.nan),
            ranges.get(name, (math.nan, math.nan)),
            found.get(name, {}),
            better.get(name, math.nan),
            worse.get(name, math.nan),
            find_better_controls(name, below),
        )
        for name in order
    ]


def compute_p_better(p: PByControl) -> float:
    """Return the one-sided p of H0 "the method is no better than at least one control".

    p: one-sided p of the test against each control. The result is the largest p, which needs no
    correction (intersection-union test, Berger 1982). NaN without controls, or if a test is not
    possible.
    """
    return max(p.values()) if p and not any(map(math.isnan, p.values())) else math.nan


def compute_p_worse(p: PByControl) -> float:
    """Return the one-sided p of H0 "the method is at least as good as every control".

    p: one-sided, uncorrected p of the test against each control. Bonferroni's correction is applied
    here. The result is NaN as for `compute_p_better`.
    """
    known = p and not any(map(math.isnan, p.values()))
    return min(1.0, len(p) * min(p.values())) if known else math.nan


def find_better_controls(name: str, tests: Mapping[str, PByControl]) -> list[str]:
    """Return the controls that are significantly better than a method.

    The correction is the same as for the outcome of the method.
    tests: p values of each planned method by control; empty if the method cannot be tested. Each p
    is multiplied by the number of controls and by the method's factor in Holm's correction. This
    factor is the number of planned methods minus the number of methods with a smaller
    `compute_p_worse`. If the outcome is LOSES, the result therefore always contains the control
    with the smallest p.
    """
    own = tests.get(name, {})
    least = compute_p_worse(own)
    factor = len(tests) - sum(compute_p_worse(each) < least for each in tests.values())
    # The products are in the order of `apply_holm`, so that both are rounded alike.
    return [control for control, p in own.items() if factor * (len(own) * p) < ONE_SIDED]


def compute_p_values(differences: ControlDifferences, sign: int) -> dict[str, float]:
    """Return the one-sided p of H0 "sign times the difference is at most 0", by control.

    Each p is the larger of two: that of the test over the pairs, and that of the test over the
    models.
    """
    test = partial(_compute_p, sign=sign)
    return {
        name: pooling.compute_largest_p(test, *average_seeds(pairs))
        for name, pairs in differences.items()
    }


def _compute_p(values: Sequence[float], draws: Sequence[DrawVariance], sign: int) -> float:
    """Return the one-sided p of H0 "sign times the mean is at most 0"."""
    return statistics.compute_p_no_worse([sign * value for value in values], draws, margin=0)


def _compute_volumes(contestant: Contestant) -> dict[Pair, float]:
    """Return the hypervolume of a contestant on each pair."""
    return {pair: compute_volume(points) for pair, points in contestant.points.items()}


def compute_volume(points: Sequence[Point]) -> float:
    """Return the hypervolume of the points' mean savings and losses; NaN without results."""
    known = [(point.saved, -point.difference.mean) for point in points if point.difference.n]
    return compute_hypervolume(known) if known else math.nan


def _compare_with_controls(
    contestant: Contestant, controls: Sequence[Contestant]
) -> ControlDifferences:
    """Return the differences from each control at equal cost, by control and pair.

    The method runs at its defaults. Pairs in which a needed run has no result are left out.
    """
    return {
        control.name: {
            pair: compare_with_curve(point, control.points[pair])
            for pair, point in contestant.defaults.items()
            if is_comparable(point, control.points.get(pair, ()))
        }
        for control in controls
    }


def _is_testable(contestant: Contestant, differences: ControlDifferences) -> bool:
    """Return whether the runs at the defaults suffice for the tests against the controls.

    All runs at the defaults must have results. At least LEAST models must be comparable with each
    control, because pairs of one model are not independent. The test leaves out pairs in which a
    seed cannot be compared. The table shows how many pairs are left.
    """
    whole = all(point.complete for point in contestant.defaults.values())
    return whole and all(
        len({model for (model, _), d in pairs.items() if d.n > 0}) >= LEAST
        for pairs in differences.values()
    )


def _build_standing(
    contestant: Contestant,
    volumes: Mapping[Pair, float],
    rank: float,
    rank_range: tuple[float, float],
    differences: ControlDifferences,
    p_better: float,
    p_worse: float,
    worse_than: Sequence[str],
) -> Standing:
    means = {name: average_seeds(pairs) for name, pairs in differences.items()}
    against = {name: pooling.compute_widest_interval(*mean) for name, mean in means.items()}
    outcome = _judge(p_better, p_worse)
    difference = average_seeds(
        {pair: point.difference for pair, point in contestant.defaults.items()}
    )
    saved = [point.saved for point in contestant.defaults.values()]
    return Standing(
        contestant,
        statistics.compute_mean([share for share in saved if not math.isnan(share)]),
        pooling.compute_widest_interval(*difference),
        compute_mean_interval(volumes),
        rank,
        rank_range,
        against,
        {name: len(mean) for name, (mean, _) in means.items()},
        _count_beyond(contestant, differences),
        p_better,
        p_worse,
        outcome,
        worse_than if outcome == LOSES else [],
    )


def _count_beyond(contestant: Contestant, differences: ControlDifferences) -> int:
    """Return the number of pairs on which the method is too cheap for every control.

    On these pairs, all runs have results. For each control, some run of the method costs less than
    the control's cheapest setting.
    """
    return sum(
        bool(differences)
        and all(pair in pairs and not pairs[pair].n for pairs in differences.values())
        for pair in contestant.defaults
    )


def _judge(p_better: float, p_worse: float) -> str:
    """Return the outcome for two Holm-adjusted, one-sided p values."""
    if math.isnan(p_better) or math.isnan(p_worse):
        return NOT_TESTED
    if p_better < ONE_SIDED:
        return BEATS
    return LOSES if p_worse < ONE_SIDED else UNDECIDED
