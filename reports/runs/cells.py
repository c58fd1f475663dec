"""Cells: runs that differ only in their seed, with their counts and means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.errors import UserError
from reports import statistics
from reports.runs.run_table import DIVERGED, DONE, FAILED, ROLES, Run


@dataclass(frozen=True)
class Cell:
    """Cell of a table: its roles and all of its wanted runs, finished or not."""

    roles: tuple[str, ...]
    runs: Sequence[Run]

    @property
    def finished(self) -> list[Run]:
        """Runs with a result. All means of the cell are over these runs."""
        return [run for run in self.runs if run["state"] == DONE]

    @property
    def n(self) -> int:
        """Number of finished runs."""
        return len(self.finished)

    @property
    def wanted(self) -> int:
        """Number of runs that the table wants."""
        return len(self.runs)

    @property
    def diverged(self) -> int:
        """Number of runs that diverged."""
        return sum(run["state"] == DIVERGED for run in self.runs)

    @property
    def failed(self) -> int:
        """Number of runs whose last attempt ended in an error."""
        return sum(run["state"] == FAILED for run in self.runs)

    @property
    def resumed(self) -> int:
        """Number of finished runs that were interrupted and resumed."""
        return sum(run["resumed"] for run in self.finished)

    @property
    def slowed(self) -> int:
        """Number of finished runs that probably shared their CPU with another process."""
        return sum(run["slowed"] for run in self.finished)

    @property
    def devices(self) -> frozenset[str]:
        """Devices of the finished runs. Times from more than one device are not comparable."""
        return frozenset(run["device"] for run in self.finished)

    def values(self, key: str) -> list[float]:
        """Return the value of a column for every finished run."""
        return [run[key] for run in self.finished]

    def by_seed(self, key: str) -> dict[int, float]:
        """Return the value of a column for every finished run, by seed."""
        return {run["seed"]: run[key] for run in self.finished}

    def mean(self, key: str) -> float:
        """Return the mean over the finished runs, or NaN if there are none."""
        return statistics.compute_mean(self.values(key))

    def sd(self, key: str) -> float:
        """Return the sample standard deviation over the finished runs; NaN for fewer than two."""
        return statistics.compute_sample_sd(self.values(key))


def build_cells(frame: pd.DataFrame) -> list[Cell]:
    """Return the cells of a frame, sorted by their roles in order of first appearance.

    Raises UserError if two runs of a cell have different settings or the
    same seed.
    """
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in frame.to_dict("records"):
        row = {str(key): value for key, value in run.items()}
        groups.setdefault(tuple(str(row[role]) for role in ROLES), []).append(row)
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
            f"the row {' / '.join(roles)} has {len(seeds)} runs (number of settings: "
            f"{len(settings)}, of seeds: {len(set(seeds))}), but a row holds one setting with one "
            "run per seed; in the sweep file, give each setting a method name of its own"
        )
