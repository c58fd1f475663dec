"""Execution plan: the runs in order of their dependencies, and which of them are done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.results.run_folder import RunFolder
from bench.spec import Spec


@dataclass(frozen=True)
class Plan:
    """Runs in dependency order, and the ids of those that are done."""

    specs: tuple[Spec, ...]
    done: frozenset[str]

    @property
    def todo(self) -> list[Spec]:
        """Runs that are not done."""
        return [s for s in self.specs if s.id not in self.done]


def make_plan(specs: Iterable[Spec], results: Path) -> Plan:
    """Return a plan of the runs.

    Raises UserError if a run needs another run that is neither done nor planned.
    """
    by_id = {spec.id: spec for spec in specs}
    done = _find_done(by_id, results)
    for spec in by_id.values():
        for need in spec.needs:
            if need not in by_id and not RunFolder(results, need).done:
                raise UserError(
                    f"{spec.label}: needs run {need}, which is neither finished nor planned; "
                    f"execute that run first, or give the --results folder that contains it"
                )
    return Plan(tuple(_sort_by_depth(by_id)), done)


def _find_done(by_id: dict[str, Spec], results: Path) -> frozenset[str]:
    """Return the ids of the runs that count as done.

    A finished run may lack weights that its spec keeps, for example after compact runs were
    merged. The run still counts as done if runs of the plan need it, and all runs that need it
    are done.
    """
    done = {i for i, spec in by_id.items() if RunFolder(results, i).is_complete(spec)}
    users = {need for spec in by_id.values() for need in spec.needs}
    unfinished = {need for i, spec in by_id.items() if i not in done for need in spec.needs}
    without_weights = {i for i in users - unfinished - done if RunFolder(results, i).done}
    return frozenset(done | (without_weights & by_id.keys()))


def _sort_by_depth(by_id: dict[str, Spec]) -> Sequence[Spec]:
    depth = compute_depths(by_id.values())
    return sorted(by_id.values(), key=lambda spec: depth[spec.id])


def compute_depths(specs: Iterable[Spec]) -> dict[str, int]:
    """Return for each run id the length of its longest chain of dependencies among these runs."""
    by_id = {spec.id: spec for spec in specs}
    below: dict[tuple[str, ...], int] = {}  # runs of a cell have the same dependencies

    def depth_below(needs: tuple[str, ...]) -> int:
        if needs not in below:
            levels = [depth_below(by_id[n].needs) for n in set(needs) if n in by_id]
            below[needs] = 1 + max(levels, default=-1)
        return below[needs]

    return {spec.id: depth_below(spec.needs) for spec in by_id.values()}
