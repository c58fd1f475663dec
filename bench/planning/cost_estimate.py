"""What planned runs should cost before any is made: FLOPs of training, and hours of a device.

A run that freezes, or is matched to one that does, costs less than full training, by how much no
plan can know: it is counted as full training, an upper bound. Evaluating and deciding are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.planning.estimates import count_full_flops
from bench.spec import Spec
from bench.strategy_api.built_in import find_built_in

if TYPE_CHECKING:
    from bench.planning.sweep import Sweep


@dataclass(frozen=True)
class CostLine:
    """Runs of one sweep that differ in seed only, or what its runs need besides ("artifacts").

    flops: of all of them. bound: whether that is an upper bound.
    """

    sweep: str
    what: str
    runs: int
    flops: float
    bound: bool


@dataclass(frozen=True)
class CostEstimate:
    """Lines by sweep, each with every run it shows; runs and flops: of all, each run once.

    own: by sweep, its runs that no sweep before it has, and their FLOPs.
    """

    lines: tuple[CostLine, ...]
    own: dict[str, tuple[int, float]]
    runs: int
    flops: float
    bound: bool


def estimate_cost(sweep: Sweep) -> CostEstimate:
    """What the runs of a sweep, or of several joined, should cost."""
    lines: list[CostLine] = []
    own: dict[str, tuple[int, float]] = {}
    counted: dict[str, float] = {}
    bound = False
    for part in sweep.parts or (sweep,):
        groups: dict[str, dict[str, Spec]] = {}
        for spec in part.artifacts:
            groups.setdefault(f"artifacts: {spec.model} {spec.data_name}", {})[spec.id] = spec
        for entry in part.entries:
            what = " ".join(entry.roles[axis] for axis in ("model", "dataset", "method"))
            groups.setdefault(what, {})[entry.spec.id] = entry.spec
        fresh = {s.id: count_full_flops(s) for s in part.specs if s.id not in counted}
        own[part.name] = (len(fresh), sum(fresh.values()))
        counted |= fresh
        for what, specs in groups.items():
            line = _make_cost_line(part.name, what, list(specs.values()), counted)
            bound |= line.bound
            lines.append(line)
    return CostEstimate(tuple(lines), own, len(counted), sum(counted.values()), bound)


def _make_cost_line(
    sweep: str, what: str, specs: Sequence[Spec], counted: dict[str, float]
) -> CostLine:
    total = sum(counted[spec.id] for spec in specs)
    return CostLine(sweep, what, len(specs), total, is_upper_bound(specs[0]))


def is_upper_bound(spec: Spec) -> bool:
    """Whether full training's cost is only an upper bound of the run's."""
    facts = find_built_in().get(spec.strategy)
    return facts is None or not facts.costs_full_training
