"""Comparison of two runs, two cells or two sweeps, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from bench.errors import UserError
from bench.results.evaluation_file import FILE
from reports import statistics
from reports.comparison.paired_difference import compare_accuracy
from reports.comparison.setting_differences import get_contents, join_values, list_differences
from reports.document import captions
from reports.document.table import (
    Column,
    Row,
    Table,
    Value,
    format_fixed,
    format_significant,
    number_column,
    percent_column,
    text_column,
)
from reports.runs.cells import Cell
from reports.runs.export import Results
from reports.runs.run_table import DONE
from reports.runs.sample_scores import read_sample_scores

# Quantities of a cell: column of the exported runs, heading, digits after the point (None: three
# significant digits).
SHOWN: Mapping[str, tuple[str, int | None]] = {
    "accuracy": ("accuracy, %", 2),  # or _name_score
    "exact_total": ("FLOPs, exact", None),
    "paper_total": ("FLOPs, paper's convention", None),
    "decide_flops": ("FLOPs of decisions", None),
    "time_s": ("time, s", 1),
    "saved_bytes_mean": ("bytes kept for backward, mean", None),
    "state_bytes": ("bytes of training state, peak", None),
    "frozen_layers": ("frozen layers at the end", 1),
    "steps": ("steps", 0),
}


@dataclass(frozen=True)
class Side:
    """One side of a comparison: runs that differ in their seed only.

    name: as the user typed it. runs: rows of the exported table. planned: number of runs that a
    sweep plans, including runs that do not exist yet; 0 means as many as `runs`. results: results
    folder, needed for intervals that cover the test draw.
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

    def describe(self, key: str, digits: int | None) -> str:
        """Return mean and standard deviation of a column as text."""
        values = [float(value) for value in self.done[key]]
        text = _format(statistics.compute_mean(values), digits)
        spread = statistics.compute_sample_sd(values)
        return f"{text} ± {_format(spread, digits)}" if math.isfinite(spread) else text


def find_side(results: Results, name: str, cells: bool, root: Path) -> Side:
    """Return the runs whose run id or cell id begins with `name`, as a Side.

    cells: whether to return all runs of the cell if `name` begins the id of one run. root: the
    results folder. Raises UserError if no id begins with `name`, or if the match is ambiguous.
    """
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


def compare_cells(one: Side, other: Side) -> Table:
    """Return the differing settings and the measurements of two runs or cells, as a table."""
    rows: list[Row] = [
        {"what": name, "one": first, "other": second, "change": None}
        for name, first, second in list_differences(one.runs, other.runs)
    ]
    rows.append({"what": "runs", "one": _count(one), "other": _count(other), "change": None})
    for key, (name, digits) in SHOWN.items():
        head = _name_score(one, other) if key == "accuracy" else name
        sides = one.describe(key, digits), other.describe(key, digits)
        change = _describe_change(one, other, key)
        rows.append({"what": head, "one": sides[0], "other": sides[1], "change": change})
    columns = [
        text_column("", "what"),
        text_column(one.name, "one"),
        text_column(other.name, "other"),
        text_column("second against first", "change"),
    ]
    return Table(f"{one.name} and {other.name}", columns, rows, notes=_list_notes(one, other))


def compare_sweeps(
    names: tuple[str, str], sides: tuple[Mapping[tuple[str, ...], Side], ...]
) -> Table:
    """Return a table with one row for each model, data set and method of two sweeps.

    names: names of the two sweeps. sides: for each sweep, its cells by model, data set and method.
    """
    first, second = sides
    rows: list[Row] = []
    for roles in [*first, *(roles for roles in second if roles not in first)]:
        pair = first.get(roles), second.get(roles)
        values: dict[str, Value] = dict(zip(("model", "dataset", "method"), roles, strict=True))
        for number, side in enumerate(pair):
            for key in ("accuracy", "exact_total"):
                values[f"{key}_{number}"] = side.mean(key) if side else math.nan
            values[f"runs_{number}"] = _count(side) if side else "–"
        values |= {"difference": math.nan, "flops_change": math.nan}
        if pair[0] and pair[1]:
            if _agree(pair[0], pair[1], "metric"):
                values["difference"] = _pair(pair[0], pair[1]).mean
            before = pair[0].mean("exact_total")
            values["flops_change"] = pair[1].mean("exact_total") / before - 1
        rows.append(values)
    columns: list[Column] = [text_column("method", "method")]
    score = _name_score(*first.values(), *second.values()).removesuffix(", %")
    for number, name in enumerate(names):
        columns += [
            number_column(f"{name}: {score}", f"accuracy_{number}"),
            text_column("runs", f"runs_{number}"),
        ]
    columns += [
        number_column("difference", "difference", sign=True),
        percent_column("FLOPs, %", "flops_change"),
    ]
    blocks = [text_column("model", "model"), text_column("data set", "dataset")]
    notes = [
        f"difference: score of {names[1]} minus score of {names[0]} in points, over the seeds with "
        "both results; “–” if the metrics differ. FLOPs, %: change of the exact FLOPs."
    ]
    return Table(f"{names[0]} and {names[1]}", columns, rows, blocks, notes)


def compare_layers(results: Results, one: Side, other: Side) -> Table | None:
    """Return the steps after which layers stay frozen in two runs, as a table.

    The result is None unless each side is one finished run. It is also None if neither run ends
    with a frozen layer.
    """
    frozen = []
    for side in (one, other):
        if len(side.runs) != 1 or side.done.empty:
            return None
        own = results.decisions[results.decisions.run == side.runs.run.iloc[0]]
        last = own[own.applied & own.changed].groupby("name").last()
        frozen.append({str(name): str(row.step) for name, row in last.iterrows() if row.freeze})
    names = [
        name
        for name in results.decisions.sort_values("layer").name.unique()
        if any(name in f for f in frozen)
    ]
    rows: list[Row] = [
        {"what": name, "one": frozen[0].get(name, ""), "other": frozen[1].get(name, "")}
        for name in names
    ]
    columns = [text_column("layer", "what")]
    columns += [text_column(s.name, key) for s, key in ((one, "one"), (other, "other"))]
    return Table("Step after which a layer stays frozen", columns, rows) if rows else None


def _describe_change(one: Side, other: Side, key: str) -> str:
    """Return the change from `one` to `other` as text.

    The change of a score is a paired difference in points. The change of any other column is in
    percent. The text is empty for runs without a result, for counts (steps and frozen layers), and
    if the value of `one` is 0. It is also empty for scores by different metrics, and for times from
    different devices.
    """
    if key == "accuracy" and not _agree(one, other, "metric"):
        return ""
    if key == "accuracy":
        gap = _pair(one, other)
        if not math.isfinite(gap.mean):
            return ""
        text = f"{format_fixed(gap.mean, 2, sign=True)} points"
        if math.isfinite(gap.low):
            low, high = (format_fixed(value, 2, sign=True) for value in (gap.low, gap.high))
            text += f" [{low}, {high}]"
        return text
    before, after = one.mean(key), other.mean(key)
    if not before or not math.isfinite(before + after) or key in ("steps", "frozen_layers"):
        return ""
    if key == "time_s" and _differ_in_device(one, other):
        return ""
    return f"{format_fixed(100 * (after / before - 1), 1, sign=True)} %"


def _name_score(*sides: Side) -> str:
    """Return "accuracy, %", or the heading of scores by other metrics, such as "score"."""
    metrics = {str(metric) for side in sides for metric in side.runs.metric}
    return captions.name_score(metrics).lower().replace(" (%)", ", %")


def _share_samples(one: Side, other: Side) -> bool:
    """Return whether both sides have sample outcomes, and for the same evaluation samples."""
    same = all(_agree(one, other, key) for key in ("data", "evaluate_on", "metric"))
    same = same and get_contents(one.runs).get("data") == get_contents(other.runs).get("data")
    return same and one.has_samples and other.has_samples


def _agree(one: Side, other: Side, key: str) -> bool:
    return join_values(one.runs, key) == join_values(other.runs, key)


def _differ_in_device(one: Side, other: Side) -> bool:
    """Return whether the finished runs of both sides used more than one device."""
    return len({*one.done.device, *other.done.device}) > 1


def _pair(one: Side, other: Side) -> statistics.Interval:
    """Return the accuracy of `other` minus that of `one`, paired by seed, with a 95 % interval.

    The interval covers the seeds, and also the test draw if `_share_samples`.
    """
    if _share_samples(one, other):
        return compare_accuracy(other.make_cell(), one.make_cell()).interval
    first, second = (dict(zip(s.done.seed, s.done.accuracy, strict=True)) for s in (one, other))
    both = sorted(first.keys() & second.keys())
    return statistics.compute_t_interval([float(second[s]) - float(first[s]) for s in both])


def _list_notes(one: Side, other: Side) -> list[str]:
    covers = (
        "interval that covers the seeds and the test draw, as in the tables."
        if _share_samples(one, other)
        else "t interval over the seeds, which does not cover the test draw."
    )
    notes = [
        "Numbers of several runs are mean ± sample standard deviation over the seeds. The "
        f"difference of scores is paired by seed, with a 95 % {covers}"
    ]
    if _differ_in_device(one, other):
        notes.append("The runs used different devices, so their times are not comparable.")
    if any(bool(side.done.slowed.any()) for side in (one, other)):
        notes.append("Some runs probably shared their CPU, so their times are unreliable.")
    if not _agree(one, other, "results_version"):
        notes.append("The runs have different results versions, so their results may differ.")
    return notes


def _count(side: Side) -> str:
    return f"{len(side.done)} of {side.planned or len(side.runs)}"


def _format(value: float, digits: int | None) -> str:
    return format_significant(value) if digits is None else format_fixed(value, digits)
