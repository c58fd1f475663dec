"""Contestants of the leaderboard: the points of each method and of each control, by pair.

A point is one setting of a contestant on one pair. A method "slimfit" is the strategy at its
defaults. A method "slimfit, share 0.75" is another setting of the same contestant, because the part
before the comma is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.spec import FULL
from reports.comparison.paired_difference import PairedDifference, compare_accuracy
from reports.runs.cells import Cell
from reports.sampling import Pair

CONTROLS = ("prefix", "at_once", "shortened")  # each contestant is compared with their curves


@dataclass(frozen=True)
class Point:
    """One setting of a contestant on one pair of model and data set.

    cell: runs of this setting.
    full: runs of full training on the same pair.
    """

    cell: Cell
    full: Cell

    @property
    def method(self) -> str:
        """Name of the method in the sweep."""
        return self.cell.roles[2]

    @cached_property
    def difference(self) -> PairedDifference:
        """Accuracy minus that of full training, in points."""
        return compare_accuracy(self.cell, self.full)

    @cached_property
    def costs(self) -> Mapping[int, float]:
        """Cost by seed, as a share of full training's cost with the same seed."""
        whole = compute_costs(self.full)
        return {s: cost / whole[s] for s, cost in compute_costs(self.cell).items() if s in whole}

    @property
    def saved(self) -> float:
        """Mean share of full training's cost that is saved; NaN without a common seed."""
        costs = list(self.costs.values())
        return 1 - sum(costs) / len(costs) if costs else float("nan")

    @property
    def paired(self) -> bool:
        """Whether every run of the cell and full training with the same seed have results."""
        return len(self.costs) == self.cell.wanted

    @property
    def complete(self) -> bool:
        """Whether every run of the cell and of full training has a result."""
        return self.cell.n == self.cell.wanted and self.full.n == self.full.wanted


@dataclass(frozen=True)
class Contestant:
    """Method or control with its settings on each pair, which are its points.

    The first point of a method on a pair is its setting with the default options.
    """

    name: str
    points: Mapping[Pair, Sequence[Point]]

    @property
    def is_control(self) -> bool:
        """Whether the contestant is a control with which all methods are compared."""
        return self.name in CONTROLS

    @property
    def is_oracle(self) -> bool:
        """Whether the method needs a trained model of the same task, whose cost is not counted."""
        return any(
            run.get("reference") for point in self.defaults.values() for run in point.cell.runs
        )

    @property
    def defaults(self) -> Mapping[Pair, Point]:
        """For each pair, the point (`Point`) of the setting with the strategy's default options."""
        return {pair: points[0] for pair, points in self.points.items()}

    @property
    def runs(self) -> tuple[int, int]:
        """Number of runs that are complete, and number of all runs.

        A run is complete if it and full training of the same seed have a result.
        """
        points = [point for points in self.points.values() for point in points]
        return sum(len(point.costs) for point in points), sum(point.cell.wanted for point in points)

    @property
    def complete(self) -> bool:
        """Whether every run of every point has a result."""
        return all(point.complete for points in self.points.values() for point in points)


def compute_costs(cell: Cell) -> dict[int, float]:
    """Return the exact FLOPs of each finished run, decisions included, by seed."""
    decide = cell.by_seed("decide_flops")
    return {seed: flops + decide[seed] for seed, flops in cell.by_seed("exact_total").items()}


def collect_contestants(cells: Sequence[Cell]) -> dict[str, Contestant]:
    """Return one contestant for each method, by name. Full training is not a contestant.

    cells: cells of all methods and pairs. The points of a pair are in the order of the cells.
    Pairs that have no cell of full training are left out.
    """
    full = {cell.roles[:2]: cell for cell in cells if cell.roles[2] == FULL}
    found: dict[str, dict[Pair, list[Point]]] = {}
    for cell in cells:
        pair, method = cell.roles[:2], cell.roles[2]
        if method != FULL and pair in full:
            name = method.partition(",")[0]
            found.setdefault(name, {}).setdefault(pair, []).append(Point(cell, full[pair]))
    return {name: Contestant(name, points) for name, points in found.items()}
