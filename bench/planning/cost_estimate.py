"""Estimated training FLOPs of planned runs.

A run that freezes layers costs less than full training, and so does a run that is matched to it.
The saving is unknown in advance. The estimate counts such a run as full training, which is an upper
bound. The costs of evaluation and of strategy decisions are left out.
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
    """Cost of the runs of one sweep that differ only in seed, or of artifacts that its runs need.

    flops: training FLOPs of all these runs together.
    bound: whether flops is an upper bound.
    """

    sweep: str
    what: str
    runs: int
    flops: float
    bound: bool


@dataclass(frozen=True)
class CostEstimate:
    """Cost of one sweep or of several.

    lines: costs in the order of the sweeps; a run may count in several lines.
    own: for each sweep, the number of runs that no earlier sweep has, and their FLOPs.
    runs, flops: totals that count each run once.
    bound: whether flops is an upper bound.
    """

    lines: tuple[CostLine, ...]
    own: dict[str, tuple[int, float]]
    runs: int
    flops: float
    bound: bool


def estimate_cost(sweep: Sweep) -> CostEstimate:
    """Return the estimated cost of a sweep, or of several joined sweeps."""
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
    """Return whether the cost of full training is only an upper bound on the cost of the run."""
    facts = find_built_in().get(spec.strategy)
    return facts is None or not facts.costs_full_training
