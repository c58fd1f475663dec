"""Runs that differ in seed only, taken together: how many there are, and their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.errors import UserError
from reports import statistics
from reports.runs.run_table import DIVERGED, DONE, FAILED, ROLES, Run


@dataclass(frozen=True)
class Cell:
    """One row of a table: its roles in the table, and all of its wanted runs, done or not."""

    roles: tuple[str, ...]
    runs: Sequence[Run]

    @property
    def finished(self) -> list[Run]:
        """The runs that have a number; means are over these."""
        return [run for run in self.runs if run["state"] == DONE]

    @property
    def n(self) -> int:
        """How many finished."""
        return len(self.finished)

    @property
    def wanted(self) -> int:
        """How many the table wants."""
        return len(self.runs)

    @property
    def diverged(self) -> int:
        """How many finished without a number."""
        return sum(run["state"] == DIVERGED for run in self.runs)

    @property
    def failed(self) -> int:
        """How many ended in an error."""
        return sum(run["state"] == FAILED for run in self.runs)

    @property
    def lost(self) -> int:
        """How many ended without a number, one way or the other."""
        return self.diverged + self.failed

    @property
    def resumed(self) -> int:
        """How many of the finished were interrupted once."""
        return sum(run["resumed"] for run in self.finished)

    @property
    def slowed(self) -> int:
        """How many of the finished had to share their CPU with something else."""
        return sum(run["slowed"] for run in self.finished)

    @property
    def devices(self) -> frozenset[str]:
        """What the finished runs were timed on; with more than one, times do not compare."""
        return frozenset(run["device"] for run in self.finished)

    def values(self, key: str) -> list[float]:
        """A number of every finished run."""
        return [run[key] for run in self.finished]

    def by_seed(self, key: str) -> dict[int, float]:
        """A number of every finished run, by seed."""
        return {run["seed"]: run[key] for run in self.finished}

    def mean(self, key: str) -> float:
        """Mean over the finished runs; NaN if there are none."""
        return statistics.compute_mean(self.values(key))

    def sd(self, key: str) -> float:
        """Sample standard deviation over the finished runs; NaN below two."""
        return statistics.compute_sample_sd(self.values(key))


def build_cells(frame: pd.DataFrame, by: Sequence[str] = ROLES) -> list[Cell]:
    """The cells of a frame, ordered by each role in its order of first appearance.

    Raises UserError if runs of different settings, or one seed twice, would share a row.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in frame.to_dict("records"):
        row = {str(key): value for key, value in run.items()}
        groups.setdefault(tuple(str(row[role]) for role in by), []).append(row)
    for roles, runs in groups.items():
        _check(roles, runs)
    names = [list(dict.fromkeys(column)) for column in zip(*groups, strict=True)]
    order = sorted(
        groups, key=lambda roles: [seen.index(r) for seen, r in zip(names, roles, strict=True)]
    )
    return [Cell(roles, groups[roles]) for roles in order]


def _check(roles: Sequence[str], runs: Sequence[Run]) -> None:
    settings = {run["cell"] for run in runs}
    seeds = [run["seed"] for run in runs]
    if len(settings) > 1 or len(set(seeds)) < len(seeds):
        raise UserError(
            f"runs of {len(settings)} settings and {len(seeds)} runs of {len(set(seeds))} seeds "
            f"would share the row {' / '.join(roles)}; give each setting a method name of its own"
        )
