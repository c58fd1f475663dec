"""A strategy against full training: what it loses, what it saves, and what may be claimed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports import statistics
from reports.runs.cells import Cell
from reports.statistics import NOTHING, Interval, compute_realised

ONE_SIDED = (1 - statistics.LEVEL) / 2  # the two-sided interval's share in each tail


@dataclass(frozen=True)
class Comparison:
    """A cell against the full training of the same model and data. Savings are shares (0 to 1)."""

    difference: Interval  # accuracy, points, paired by seed
    verdict: str  # "" where there is nothing to compare
    flops_saved: float  # paper's convention
    exact_saved: float  # exact convention, less what deciding cost
    time_saved: Interval  # train and decide clocks, paired by seed; NOTHING across devices
    devices_differ: bool
    resumed: int  # runs of the two that were interrupted once
    slowed: int  # runs of the two whose time was not theirs alone
    absent: int  # runs of the two without a number

    @property
    def realised(self) -> float:
        """Share of time saved over share of FLOPs saved; NaN where too few FLOPs are saved."""
        return compute_realised(self.time_saved.mean, self.flops_saved)


@dataclass(frozen=True)
class Pooled:
    """A strategy over all pairs of model and data; each pair counts once, by its mean.

    done, planned: its runs with a number, and all. absent: runs of it and of full training without
    one.
    """

    difference: Interval  # t interval over the pairs' means, points
    pairs: int  # pairs that could be compared
    wanted: int  # pairs of the table
    verdict: str
    p_no_worse: float  # Holm-adjusted, one-sided: the claim of non-inferiority
    p_different: float  # Holm-adjusted, two-sided: any difference at all
    p_faster: float  # Holm-adjusted, one-sided: any time saved
    flops_saved: float
    exact_saved: float
    time_saved: Interval  # t interval over the pairs' shares
    saved: Mapping[tuple[str, ...], float]  # the share of time, of each pair whose times compare
    realised: float  # mean share of time over mean share of FLOPs; NaN where a pair has no time
    verdicts: Mapping[str, int]  # how many pairs had each verdict
    resumed: int  # runs compared, full training's among them, that were interrupted once
    slowed: int  # runs compared, full training's among them, whose time was not theirs alone
    done: int
    planned: int
    absent: int

    @property
    def timed(self) -> int:
        """Pairs whose times compare."""
        return len(self.saved)

    @property
    def no_worse(self) -> bool:
        """Whether it is non-inferior, and still so after Holm's correction."""
        return self.verdict == "non-inferior" and self.p_no_worse < ONE_SIDED

    @property
    def faster(self) -> bool:
        """Whether a speed-up may be claimed: no worse, and time saved beyond chance, both after
        Holm's correction, on a machine that did nothing else, with all runs there and the times of
        all pairs.
        """
        whole = self.timed == self.pairs == self.wanted and not self.absent
        return self.no_worse and self.p_faster < ONE_SIDED and not self.slowed and whole

    @property
    def slower(self) -> bool:
        """Whether it takes more time than full training, beyond chance."""
        return self.time_saved.high < 0 and not self.slowed


def compare_with_full(cell: Cell, full: Cell) -> Comparison:
    """Compare a cell with full training, seed by seed; seeds that either lacks do not count."""
    pairs = (cell.by_seed("accuracy"), full.by_seed("accuracy"))
    difference = statistics.compute_t_interval(statistics.pair_differences(*pairs))
    absent = cell.wanted - cell.n + full.wanted - full.n
    differ = len(cell.devices | full.devices) > 1
    time = NOTHING
    if not differ:
        time = statistics.compute_paired_saving(cell.by_seed("time_s"), full.by_seed("time_s"))
    return Comparison(
        difference,
        _cap_verdict(statistics.judge_difference(difference), absent) if difference.n else "",
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
    """Pool each strategy over its pairs of model and data, with Holm over the strategies."""
    means = {
        name: [c.difference.mean for _, c in pairs if c.difference.n]
        for name, pairs in strategies.items()
    }
    # Of the runs that happen to be there nothing is tested: those that are not may differ.
    tested = {
        name: means[name] if not any(c.absent for _, c in pairs) else []
        for name, pairs in strategies.items()
    }
    no_worse = statistics.apply_holm(
        {k: statistics.compute_p_no_worse(v) for k, v in tested.items()}
    )
    different = statistics.apply_holm(
        {k: statistics.compute_p_different(v) for k, v in tested.items()}
    )
    saved = {
        name: {cell.roles[:2]: c.time_saved.mean for cell, c in pairs if c.time_saved.n}
        for name, pairs in strategies.items()
    }
    faster = statistics.apply_holm(
        {k: statistics.compute_p_no_worse(list(v.values()), margin=0) for k, v in saved.items()}
    )
    pooled = {}
    for name, pairs in strategies.items():
        difference = statistics.compute_t_interval(means[name])
        verdict = statistics.judge_difference(difference) if difference.n else ""
        compared = [c for _, c in pairs]
        verdicts = [c.verdict for c in compared if c.verdict]
        absent = sum(c.absent for c in compared)
        times = list(saved[name].values())
        pooled[name] = Pooled(
            difference,
            pairs=difference.n,
            wanted=len(pairs),
            verdict=_cap_verdict(verdict, absent),
            p_no_worse=no_worse[name],
            p_different=different[name],
            p_faster=faster[name],
            flops_saved=_average_known([c.flops_saved for c in compared]),
            exact_saved=_average_known([c.exact_saved for c in compared]),
            time_saved=statistics.compute_t_interval(times),
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


def _cap_verdict(verdict: str, absent: int) -> str:
    """A strategy is not called non-inferior on the seeds that happen to be there: others may have
    diverged, failed, or not be finished.
    """
    return "inconclusive" if absent and verdict == "non-inferior" else verdict


def _compute_saving(ours: float, theirs: float) -> float:
    return 1 - ours / theirs if theirs else math.nan


def _average_known(values: Sequence[float]) -> float:
    """Mean of the known values."""
    return statistics.compute_mean([value for value in values if not math.isnan(value)])
