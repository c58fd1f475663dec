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

    Raises UserError if a run needs another one that is neither done nor planned.
    """
    by_id = {spec.id: spec for spec in specs}
    done = frozenset(i for i, s in by_id.items() if RunFolder(results, i).is_complete(s))
    for spec in by_id.values():
        for need in spec.needs:
            if need not in by_id and not RunFolder(results, need).done:
                raise UserError(
                    f"{spec.label}: needs run {need}, which is neither finished nor planned"
                )
    return Plan(tuple(_sort_by_depth(by_id)), done)


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
