"""Comparison of a strategy with full training: accuracy difference, savings and verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from reports import pooling, statistics
from reports.comparison.paired_difference import (
    PairedDifference,
    average_seeds,
    compare_accuracy,
)
from reports.runs.cells import Cell
from reports.sampling import Pair, Residuals
from reports.statistics import NO_INTERVAL, ONE_SIDED, Interval, compute_realised

NONE: Mapping[str, Mapping[Pair, Residuals]] = {}


@dataclass(frozen=True)
class Comparison:
    """Comparison of a cell with full training of the same model and data.

    Savings are shares. For example, 0.25 means that 25 % are saved. A negative share means
    that the cell costs more than full training.
    """

    accuracy: PairedDifference  # accuracy minus full training's
    verdict: str  # "" if no seed can be compared
    flops_saved: float  # paper's convention
    exact_saved: float  # exact convention, the FLOPs of decisions counted as cost
    time_saved: Interval  # train + decide clocks, paired by seed; NO_INTERVAL if devices differ
    devices_differ: bool
    resumed: int  # runs of both cells that were interrupted and resumed
    slowed: int  # runs of both cells that shared their CPU with another process
    absent: int  # runs of both cells without a result

    @property
    def difference(self) -> Interval:
        """Accuracy minus that of full training, in points, paired by seed and sample."""
        return self.accuracy.interval

    @property
    def realised(self) -> float:
        """Ratio of the share of time saved to the share of FLOPs saved.

        The ratio is NaN if less than statistics.SMALLEST_SHARE of the FLOPs is saved.
        """
        return compute_realised(self.time_saved.mean, self.flops_saved)


@dataclass(frozen=True)
class Pooled:
    """Results of a method, pooled over the pairs.

    Each pair counts once, by its mean.
    done: runs of the method with a result.
    planned: all runs of the method.
    absent: runs of the method and of full training without a result.
    """

    difference: Interval  # over the pairs' mean differences, in points, test draw included
    by_model: Interval  # over the models' mean differences, in points, test draw included
    widest: Interval  # contains both; the verdict rests on it
    draw_error: float  # standard error of the mean difference by the test draw alone, in points
    pairs: int  # pairs with at least one seed that can be compared
    wanted: int  # all pairs of the table
    verdict: str
    p_no_worse: float  # Holm-adjusted, one-sided: test of non-inferiority
    p_different: float  # Holm-adjusted, two-sided: test of any difference
    p_faster: float  # Holm-adjusted, one-sided: test of any time saved
    flops_saved: float
    exact_saved: float
    time_saved: Interval  # shares of time saved; spans the intervals by pair and by model
    saved: Mapping[tuple[str, ...], float]  # share of time saved, of pairs with comparable times
    realised: float  # mean share of time / mean share of FLOPs; NaN if a pair lacks a time
    verdicts: Mapping[str, int]  # number of pairs with each verdict
    resumed: int  # resumed runs, including those of full training
    slowed: int  # runs that shared their CPU, including those of full training
    done: int
    planned: int
    absent: int

    @property
    def timed(self) -> int:
        """Number of pairs whose times can be compared with full training."""
        return len(self.saved)

    @property
    def no_worse(self) -> bool:
        """Whether the method is non-inferior, and remains so after Holm's correction."""
        return self.verdict == "non-inferior" and self.p_no_worse < ONE_SIDED

    @property
    def faster(self) -> bool:
        """Whether the report may claim a speed-up.

        The method must be non-inferior and save time, both after Holm's correction. All runs must
        have results, the times of all pairs must be comparable, and no run may have shared its CPU.
        """
        whole = self.timed == self.pairs == self.wanted and not self.absent
        return self.no_worse and self.p_faster < ONE_SIDED and not self.slowed and whole

    @property
    def slower(self) -> bool:
        """Whether the method takes significantly more time than full training."""
        return self.time_saved.high < 0 and not self.slowed


def compare_with_full(cell: Cell, full: Cell) -> Comparison:
    """Compare a cell with full training, on the seeds for which both have a result."""
    accuracy = compare_accuracy(cell, full)
    absent = cell.wanted - cell.n + full.wanted - full.n
    differ = len(cell.devices | full.devices) > 1
    time = NO_INTERVAL
    if not differ:
        time = statistics.compute_paired_saving(cell.by_seed("time_s"), full.by_seed("time_s"))
    return Comparison(
        accuracy,
        find_verdict(accuracy.interval, complete=not absent),
        _compute_saving(cell.mean("paper_total"), full.mean("paper_total")),
        _compute_saving(
            cell.mean("exact_total") + cell.mean("decide_flops"), full.mean("exact_total")
        ),
        time,
        differ,
        cell.resumed + full.resumed,
        cell.slowed + full.slowed,
        absent,
    )


def pool_methods(strategies: Mapping[str, Sequence[tuple[Cell, Comparison]]]) -> dict[str, Pooled]:
    """Pool each method over its pairs, with p values Holm-adjusted over the methods."""
    averaged = {
        name: average_seeds({cell.roles[:2]: c.accuracy for cell, c in pairs})
        for name, pairs in strategies.items()
    }
    # Incomplete results are not tested, because the missing runs may differ from the others.
    tested = {
        name: averaged[name][0] if not any(c.absent for _, c in pairs) else {}
        for name, pairs in strategies.items()
    }
    residuals = {name: averaged[name][1] for name in strategies}
    no_worse = _adjust(statistics.compute_p_no_worse, tested, residuals)
    different = _adjust(statistics.compute_p_different, tested, residuals)
    saved = {
        name: {cell.roles[:2]: c.time_saved.mean for cell, c in pairs if c.time_saved.n}
        for name, pairs in strategies.items()
    }
    faster = _adjust(partial(statistics.compute_p_no_worse, margin=0), saved)
    pooled = {}
    for name, pairs in strategies.items():
        difference, by_model = pooling.compute_pair_and_model_intervals(*averaged[name])
        widest = pooling.compute_widest_interval(*averaged[name])
        compared = [c for _, c in pairs]
        verdicts = [c.verdict for c in compared if c.verdict]
        absent = sum(c.absent for c in compared)
        times = list(saved[name].values())
        pooled[name] = Pooled(
            difference,
            by_model,
            widest,
            draw_error=pooling.compute_draw_error(*averaged[name]),
            pairs=difference.n,
            wanted=len(pairs),
            verdict=find_verdict(widest, complete=not absent),
            p_no_worse=no_worse[name],
            p_different=different[name],
            p_faster=faster[name],
            flops_saved=_average_known([c.flops_saved for c in compared]),
            exact_saved=_average_known([c.exact_saved for c in compared]),
            time_saved=pooling.compute_widest_interval(saved[name]),
            saved=saved[name],
            realised=(
                compute_realised(
                    statistics.compute_mean(times),
                    statistics.compute_mean([c.flops_saved for c in compared]),
                )
                if len(times) == len(compared)
                else math.nan
            ),
            verdicts={verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)},
            resumed=sum(c.resumed for c in compared),
            slowed=sum(c.slowed for c in compared),
            done=sum(cell.n for cell, _ in pairs),
            planned=sum(cell.wanted for cell, _ in pairs),
            absent=absent,
        )
    return pooled


def _adjust(
    test: pooling.ComputeP,
    values: Mapping[str, Mapping[Pair, float]],
    residuals: Mapping[str, Mapping[Pair, Residuals]] = NONE,
) -> dict[str, float]:
    """Return the Holm-adjusted p value of each method.

    The p value of a method is the larger of two: that over the pairs and that over the models.
    Methods that are not tested count in the correction too.
    residuals: residuals of the evaluation samples by method and pair. Residuals are needed only if
    the values are accuracy differences.
    """
    return statistics.apply_holm(
        {
            name: pooling.compute_largest_p(
                test, by_pair, residuals.get(name, pooling.NO_RESIDUALS)
            )
            for name, by_pair in values.items()
        },
        len(values),
    )


def find_verdict(difference: Interval, complete: bool) -> str:
    """Return the verdict on a difference from full training, or "" if it has no value.

    complete: whether all runs have results. If not, the verdict is never non-inferior. The finished
    runs alone prove nothing, because the missing runs may have diverged or failed.
    """
    if not difference.n:
        return ""
    verdict = statistics.judge_difference(difference)
    return "inconclusive" if verdict == "non-inferior" and not complete else verdict


def _compute_saving(ours: float, theirs: float) -> float:
    return 1 - ours / theirs if theirs else math.nan


def _average_known(values: Sequence[float]) -> float:
    """Return the mean of the values that are not NaN."""
    return statistics.compute_mean([value for value in values if not math.isnan(value)])
