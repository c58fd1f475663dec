"""From a list of runs to job arrays: what waits for what, and which runs share a job."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.planning.plan import compute_depths
from bench.spec import Spec

Pack = list[Spec]


@dataclass(frozen=True)
class ArrayPlan:
    """Runs that may start together, once all that they need is over. A pack is one job's work."""

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
    """Split runs by depth of need (artifacts, references, runs, matched runs) and pack each.

    seconds: how long a run should take. seconds_per_job: how long a job should. runs_per_job:
    most runs in a job, 0 = any; it gives way where there would be more than most_jobs, since an
    array has an end. at_once: how many runs a job makes at a time.
    """
    found = []
    for level in _group_levels(specs):
        expected = [seconds(spec) for spec in level]
        wanted = math.ceil(sum(expected) / (seconds_per_job * at_once))
        if runs_per_job:
            wanted = max(wanted, math.ceil(len(level) / runs_per_job))
        count = max(1, min(wanted, most_jobs, len(level)))
        if runs_per_job:
            expected = [1.0] * len(level)  # packs of the same number of runs
        found.append(ArrayPlan(tuple(_pack_level(level, expected, count))))
    return found


def _group_levels(specs: Sequence[Spec]) -> list[list[Spec]]:
    """Runs by the longest chain of needs among them, none of whose links is done."""
    depth = compute_depths(specs)
    levels: dict[int, list[Spec]] = {}
    for spec in specs:
        levels.setdefault(depth[spec.id], []).append(spec)
    return [levels[number] for number in sorted(levels)]


def _pack_level(specs: Sequence[Spec], expected: Sequence[float], count: int) -> list[Pack]:
    """The runs in `count` packs of about the same length, in seconds; none is empty.

    Runs of one model, data set and seed lie side by side, so that times which will be compared
    come from one node, one after the other.
    """
    order = sorted(
        range(len(specs)),
        key=lambda i: (specs[i].model, specs[i].data, specs[i].seed, i),
    )
    packs: list[Pack] = [[]]
    total, spent = sum(expected), 0.0
    for position, i in enumerate(order):
        full = spent + expected[i] / 2 > total * len(packs) / count
        needed = len(order) - position <= count - len(packs)  # a run for each pack to come
        if packs[-1] and len(packs) < count and (full or needed):
            packs.append([])
        packs[-1].append(specs[i])
        spent += expected[i]
    return packs
