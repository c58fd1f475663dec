"""Comparison of two runs, two cells or two sweeps, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping

from reports import statistics
from reports.comparison.paired_difference import compare_accuracy
from reports.comparison.setting_differences import (
    get_contents,
    get_setting,
    join_values,
    list_differences,
)
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
from reports.runs.compared_runs import Side
from reports.runs.export import Results

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


OTHER_VERSION = "The runs have different results versions, so their results may differ."


def compare_cells(left: Side, right: Side) -> Table:
    """Return the differing settings and the measurements of two runs or cells, as a table."""
    rows: list[Row] = [
        {"what": name, "left": first, "right": second, "change": None}
        for name, first, second in list_differences(left.runs, right.runs)
    ]
    rows.append({"what": "runs", "left": _count(left), "right": _count(right), "change": None})
    if not _agree(left, right, "seed"):
        seeds = (", ".join(map(str, sorted(side.runs.seed))) for side in (left, right))
        rows.append({"what": "seeds", "left": next(seeds), "right": next(seeds), "change": None})
    for key, (name, digits) in SHOWN.items():
        head = _name_score(left, right) if key == "accuracy" else name
        sides = _describe(left, key, digits), _describe(right, key, digits)
        change = _describe_change(left, right, key)
        rows.append({"what": head, "left": sides[0], "right": sides[1], "change": change})
    columns = [
        text_column("", "what"),
        text_column(left.name, "left"),
        text_column(right.name, "right"),
        text_column("second against first", "change"),
    ]
    return Table(f"{left.name} and {right.name}", columns, rows, notes=_list_notes(left, right))


def compare_sweeps(
    names: tuple[str, str], sides: tuple[Mapping[tuple[str, ...], Side], ...]
) -> Table:
    """Return a table with one row for each model, data set and method of two sweeps.

    names: names of the two sweeps.
    sides: for each sweep, its cells by model, data set and method.
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
            if _are_comparable(pair[0], pair[1]):
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
        "both results; “–” if the metrics, the data or the evaluated parts of them differ. FLOPs, "
        "%: change of the exact FLOPs."
    ]
    cells = [*first.values(), *second.values()]
    if len({version for side in cells for version in side.done.results_version}) > 1:
        notes.append(OTHER_VERSION)
    return Table(f"{names[0]} and {names[1]}", columns, rows, blocks, notes)


def compare_layers(results: Results, left: Side, right: Side) -> Table | None:
    """Return the steps after which layers stay frozen in two runs, as a table.

    The result is None unless each side is one finished run. It is also None if neither run ends
    with a frozen layer.
    """
    frozen = []
    for side in (left, right):
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
        {"what": name, "left": frozen[0].get(name, ""), "right": frozen[1].get(name, "")}
        for name in names
    ]
    columns = [text_column("layer", "what")]
    columns += [text_column(s.name, key) for s, key in ((left, "left"), (right, "right"))]
    return Table("Step after which a layer stays frozen", columns, rows) if rows else None


def _describe(side: Side, key: str, digits: int | None) -> str:
    """Return mean and standard deviation of a column as text."""
    values = [float(value) for value in side.done[key]]
    text = _format(statistics.compute_mean(values), digits)
    spread = statistics.compute_sample_sd(values)
    return f"{text} ± {_format(spread, digits)}" if math.isfinite(spread) else text


def _describe_change(left: Side, right: Side, key: str) -> str:
    """Return the change from `left` to `right` as text.

    The change of a score is a paired difference in points. The change of any other column is in
    percent. The text is empty for runs without a result, for counts (steps and frozen layers), and
    if the value of `left` is 0. It is also empty for scores by different metrics, and for times
    from different devices.
    """
    if key == "accuracy" and not _agree(left, right, "metric"):
        return ""
    if key == "accuracy":
        gap = _pair(left, right)
        if not math.isfinite(gap.mean):
            return ""
        text = f"{format_fixed(gap.mean, 2, sign=True)} points"
        if math.isfinite(gap.low):
            low, high = (format_fixed(value, 2, sign=True) for value in (gap.low, gap.high))
            text += f" [{low}, {high}]"
        return text
    before, after = left.mean(key), right.mean(key)
    if not before or not math.isfinite(before + after) or key in ("steps", "frozen_layers"):
        return ""
    if key == "time_s" and _differ_in_device(left, right):
        return ""
    return f"{format_fixed(100 * (after / before - 1), 1, sign=True)} %"


def _name_score(*sides: Side) -> str:
    """Return "accuracy, %", or the heading of scores by other metrics, such as "score"."""
    metrics = {str(metric) for side in sides for metric in side.runs.metric}
    return captions.name_score(metrics).lower().replace(" (%)", ", %")


def _are_comparable(left: Side, right: Side) -> bool:
    """Return whether the scores of both sides have one metric and come from the same data."""
    same = all(_agree(left, right, key) for key in ("data", "evaluate_on", "metric"))
    return same and get_contents(left.runs).get("data") == get_contents(right.runs).get("data")


def _share_samples(left: Side, right: Side) -> bool:
    """Return whether both sides have sample outcomes, and for the same evaluation samples.

    The samples of a loss are words. Their number depends on the length of the texts.
    """
    same = _are_comparable(left, right) and left.has_samples and right.has_samples
    lengths = {get_setting(side.runs, "length") for side in (left, right)}
    return same and ("loss" not in {*left.runs.metric} or len(lengths) == 1)


def _agree(left: Side, right: Side, key: str) -> bool:
    return join_values(left.runs, key) == join_values(right.runs, key)


def _differ_in_device(left: Side, right: Side) -> bool:
    """Return whether the finished runs of both sides used more than one device."""
    return len({*left.done.device, *right.done.device}) > 1


def _pair(left: Side, right: Side) -> statistics.Interval:
    """Return the accuracy of `right` minus that of `left`, paired by seed, with a 95 % interval.

    The interval covers the seeds, and also the test draw if `_share_samples`.
    """
    if _share_samples(left, right):
        return compare_accuracy(right.make_cell(), left.make_cell()).interval
    first, second = (dict(zip(s.done.seed, s.done.accuracy, strict=True)) for s in (left, right))
    both = sorted(first.keys() & second.keys())
    return statistics.compute_t_interval([float(second[s]) - float(first[s]) for s in both])


def _list_notes(left: Side, right: Side) -> list[str]:
    covers = (
        "interval that covers the seeds and the test draw, as in the tables."
        if _share_samples(left, right)
        else "t interval over the seeds, which does not cover the test draw."
    )
    notes = [
        "Numbers of several runs are mean ± sample standard deviation over the seeds. The "
        f"difference of scores is paired by seed, with a 95 % {covers}"
    ]
    if _differ_in_device(left, right):
        notes.append("The runs used different devices, so their times are not comparable.")
    if any(bool(side.done.slowed.any()) for side in (left, right)):
        notes.append("Some runs probably shared their CPU, so their times are unreliable.")
    if not _agree(left, right, "results_version"):
        notes.append(OTHER_VERSION)
    first, second = ({*side.done.seed} for side in (left, right))
    if first and second and first != second:
        count = len(first & second)
        seeds = "seed that both sides have" if count == 1 else f"{count} seeds that both sides have"
        used = f"only the {seeds}" if count else "no seed, because no seed is on both sides"
        notes.append(
            f"The numbers of a side cover all its finished runs. The difference of scores covers "
            f"{used}."
        )
    return notes


def _count(side: Side) -> str:
    return f"{len(side.done)} of {side.planned or len(side.runs)}"


def _format(value: float, digits: int | None) -> str:
    return format_significant(value) if digits is None else format_fixed(value, digits)
