"""Assignment of runs to job arrays by dependency, and to the jobs of each array."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.planning.plan import compute_depths
from bench.spec import Spec

Pack = list[Spec]


@dataclass(frozen=True)
class ArrayPlan:
    """Job array of runs that do not depend on each other.

    packs: the runs of each job.
    """

    packs: tuple[Pack, ...]

    @property
    def specs(self) -> list[Spec]:
        """All runs of the array."""
        return [spec for pack in self.packs for spec in pack]


def plan_arrays(
    specs: Sequence[Spec],
    seconds: Callable[[Spec], float],
    *,
    seconds_per_job: float,
    runs_per_job: int,
    most_jobs: int,
    at_once: int,
) -> list[ArrayPlan]:
    """Split runs into one array per level of dependencies, and each array into packs.

    The levels are, for example, backbones, references, runs that need them, and matched runs. Runs
    on different numbers of nodes are in different arrays.
    seconds: expected duration of a run.
    seconds_per_job: target duration of a job.
    runs_per_job: maximum number of runs per job, 0 = no limit; exceeded if the array would have
    more than most_jobs jobs.
    at_once: how many runs a job executes at a time.
    """
    found = []
    for level in _group_levels(specs):
        expected = [seconds(spec) for spec in level]
        wanted = math.ceil(sum(expected) / (seconds_per_job * at_once))
        if runs_per_job:
            wanted = max(wanted, math.ceil(len(level) / runs_per_job))
        count = max(1, min(wanted, most_jobs, len(level)))
        if runs_per_job:
            expected = [1.0] * len(level)  # pack by the number of runs, not by duration
        found.append(ArrayPlan(tuple(_pack_level(level, expected, count))))
    return found


def _group_levels(specs: Sequence[Spec]) -> list[list[Spec]]:
    """Group runs by their longest chain of dependencies among `specs`, and by their nodes."""
    depth = compute_depths(specs)
    levels: dict[tuple[int, int], list[Spec]] = {}
    for spec in specs:
        levels.setdefault((depth[spec.id], spec.nodes), []).append(spec)
    return [levels[number] for number in sorted(levels)]


def _pack_level(specs: Sequence[Spec], expected: Sequence[float], count: int) -> list[Pack]:
    """Split runs into `count` non-empty packs of about the same expected duration.

    Runs of one model, data set and seed are adjacent, so that the times that reports compare come
    from one node.
    """
    order = sorted(
        range(len(specs)),
        key=lambda i: (specs[i].model, specs[i].data, specs[i].seed, i),
    )
    packs: list[Pack] = [[]]
    total, spent = sum(expected), 0.0
    for position, i in enumerate(order):
        full = spent + expected[i] / 2 > total * len(packs) / count
        needed = len(order) - position <= count - len(packs)  # keep one run for each later pack
        if packs[-1] and len(packs) < count and (full or needed):
            packs.append([])
        packs[-1].append(specs[i])
        spent += expected[i]
    return packs
