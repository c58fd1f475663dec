"""Runs on one side of a comparison of two runs, cells or sweeps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from bench.errors import UserError
from bench.results.evaluation_file import FILE
from reports import statistics
from reports.runs.cells import Cell
from reports.runs.export import Results
from reports.runs.run_table import DONE
from reports.runs.sample_scores import read_sample_scores


@dataclass(frozen=True)
class Side:
    """One side of a comparison: runs that differ in their seed only.

    name: as the user typed it.
    runs: rows of the exported table.
    planned: number of runs that a sweep plans, including runs that do not exist yet; 0 means as
    many as `runs`.
    results: results folder, needed for intervals that cover the test draw.
    """

    name: str
    runs: pd.DataFrame
    planned: int = 0
    results: Path | None = None

    @property
    def has_samples(self) -> bool:
        """Whether all finished runs have a file with the outcomes of their evaluation samples."""
        root = self.results
        return root is not None and all(
            (root / "runs" / run / FILE).exists() for run in self.done.run
        )

    def make_cell(self) -> Cell:
        """Return the finished runs as a cell. Requires `has_samples`."""
        assert self.results is not None
        folder, runs = self.results / "runs", []
        for row in self.done.to_dict("records"):
            samples = partial(
                read_sample_scores, folder / row["run"], row["metric"], row["accuracy"]
            )
            known = {key: row[key] for key in ("seed", "accuracy")}
            runs.append({**known, "id": row["run"], "state": DONE, "samples": samples})
        return Cell((), runs)

    @property
    def done(self) -> pd.DataFrame:
        """Finished runs. The column time_s is the time inside training and decisions."""
        done = self.runs[self.runs.state == DONE]
        return done.assign(time_s=done.train_s + done.decide_s)

    def mean(self, key: str) -> float:
        """Return the mean of a column over the finished runs, NaN if there are none."""
        return statistics.compute_mean([float(value) for value in self.done[key]])


def find_side(results: Results, name: str, cells: bool, root: Path) -> Side:
    """Return the runs whose run id or cell id begins with `name`, as a Side.

    cells: whether to return all runs of the cell if `name` begins the id of one run.
    root: the results folder.
    Raises UserError if `name` is empty, if no id begins with it, or if the match is ambiguous.
    """
    if not name:
        raise UserError("an id is empty; give the first characters of the id of a run or cell")
    runs = results.runs
    begins = {key: runs[key].str.startswith(name) for key in ("run", "cell")}
    here = {"cell": begins["run"] | begins["cell"]} if cells else begins
    for key, matches in here.items():
        found = sorted(set(runs[key][matches]))
        if len(found) > 1:
            raise UserError(
                f"{len(found)} ids begin with {name}, such as {', '.join(found[:3])}; add digits"
            )
        if found:
            return Side(name, runs[runs[key] == found[0]], results=root)
    raise UserError(
        f"{name} is neither a sweep nor the beginning of the id of a run or cell; give the name of "
        f"a folder in {root / 'runs'}, or a sweep that `freezebench list sweeps` prints"
    )
