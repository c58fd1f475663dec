"""Details behind the rows of the page: each run of a cell, and the statistics of the cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.spec import FULL
from reports.comparison import method_rows
from reports.comparison.method_rows import ComparedCell
from reports.document import captions
from reports.document.difference_column import format_ends
from reports.document.profile import Profile
from reports.document.report import Report
from reports.document.table import DASH, MEBI, TERA, Row, format_fixed, format_significant
from reports.page import dot_plots
from reports.page.dot_plots import Scale, Strip
from reports.runs.cells import Cell, build_cells
from reports.runs.run_energy import ENERGY
from reports.runs.run_table import DONE, ROLES

AXES = ("model", "data", "method")  # by which the page filters; each for one of ROLES


@dataclass(frozen=True)
class RunLine:
    """Run of a cell, as formatted text.

    difference: in points.
    time: in seconds.
    energy: in joules.
    flops: in GFLOPs, by the paper's convention.
    score: unrounded score of the run; '' if the run is not finished. The page links to a freeze
    history only for runs with a score.
    """

    id: str
    seed: int
    state: str
    accuracy: str
    difference: str
    time: str
    energy: str
    flops: str
    device: str
    commit: str
    score: str


@dataclass(frozen=True)
class RunDetails:
    """Runs and statistics of a cell. `anchor` is the HTML id of these details.

    scope: model, data set and method of the cell.
    devices: devices of the finished runs, as one text.
    samples: data set, evaluation split and heading of the scores, as one text.
    """

    anchor: str
    scope: Mapping[str, str]
    seeds: str
    score: str  # heading of the scores, for example "Accuracy (%)"
    facts: Sequence[tuple[str, str]]
    runs: Sequence[RunLine]
    devices: str
    samples: str


class DetailsByRow:
    """Run details of all cells of a report, found by the rows of the report's tables."""

    def __init__(self, report: Report, profile: Profile) -> None:
        self._against = method_rows.compare_cells(build_cells(report.frame))
        self._profile, self._name, self._score = profile, report.name, report.score
        self._full = {
            compared.cell.roles[:2]: compared.cell
            for compared in self._against
            if compared.method == FULL
        }
        self._places = {
            (str(compared.cell.runs[0]["cell"]), compared.method): index
            for index, compared in enumerate(self._against)
        }

    @cached_property
    def all(self) -> list[RunDetails]:
        """Details of all cells, in the order of the table."""
        return [
            self._build_details(index, compared) for index, compared in enumerate(self._against)
        ]

    def find_anchor(self, row: Row) -> str:
        """Return the HTML id of a row's details; '' if the row does not show exactly one cell."""
        index = self._places.get((str(row.get("cell")), str(row.get("method"))))
        return "" if index is None else self._make_anchor(index)

    def find_scope(self, row: Row) -> dict[str, str]:
        """Return the row's model, data set and method, without values that no cell has."""
        found = {axis: str(row.get(ROLES[i])) for i, axis in enumerate(AXES)}
        return {axis: name for axis, name in found.items() if name in self._names[axis]}

    @cached_property
    def _names(self) -> Mapping[str, set[str]]:
        """Names of the models, data sets and methods of all cells."""
        scopes = [self._describe_scope(compared) for compared in self._against]
        return {axis: {scope[axis] for scope in scopes} for axis in AXES}

    def _describe_scope(self, compared: ComparedCell) -> dict[str, str]:
        model, dataset, method = compared.cell.roles
        names = (self._profile.format_name(model), self._profile.format_name(dataset), method)
        return dict(zip(AXES, names, strict=True))

    def build_strip(self, row: Row, key: str) -> Strip | None:
        """Return the dot plot of a row's accuracy or difference, by the key of the column.

        The result is None for other keys, for rows that do not show exactly one cell, and if no
        seed has a value.
        """
        index = self._places.get((str(row.get("cell")), str(row.get("method"))))
        if index is None:
            return None
        compared = self._against[index]
        pair = compared.cell.roles[:2]
        if key == "accuracy":
            return dot_plots.build_accuracy_strip(compared.cell, self._accuracy_scales[pair])
        if key == "difference" and compared.method != FULL:
            full = self._full.get(pair)
            return dot_plots.build_difference_strip(compared, full, self._difference_scales[pair])
        return None

    @cached_property
    def _accuracy_scales(self) -> Mapping[tuple[str, ...], Scale]:
        """Scale for each pair of model and data set, shared by all methods on the pair."""
        values: dict[tuple[str, ...], list[float]] = {}
        for compared in self._against:
            values.setdefault(compared.cell.roles[:2], []).extend(compared.cell.values("accuracy"))
        return {pair: dot_plots.fit_scale(here) for pair, here in values.items()}

    @cached_property
    def _difference_scales(self) -> Mapping[tuple[str, ...], Scale]:
        values: dict[tuple[str, ...], list[float]] = {}
        for compared in self._against:
            pair = compared.cell.roles[:2]
            if compared.method != FULL:
                here = dot_plots.compute_differences(compared.cell, self._full.get(pair)).values()
                values.setdefault(pair, [0.0, -1.0]).extend(here)
        return {pair: dot_plots.fit_scale(here) for pair, here in values.items()}

    def _name_score(self, cell: Cell) -> str:
        """Return the heading of a cell's scores, or the report's heading if no run is finished."""
        metrics = [run["metric"] for run in cell.finished]
        return captions.name_score(metrics) if metrics else self._score

    def _make_anchor(self, index: int) -> str:
        return f"runs-{self._name}-{index}"

    def _build_details(self, index: int, compared: ComparedCell) -> RunDetails:
        cell = compared.cell
        score = self._name_score(cell)
        paired = (
            dot_plots.compute_differences(cell, self._full.get(cell.roles[:2]))
            if compared.method != FULL
            else {}
        )
        return RunDetails(
            self._make_anchor(index),
            self._describe_scope(compared),
            captions.format_seed_count(cell),
            score,
            _list_facts(compared, score),
            [
                RunLine(
                    run["id"],
                    run["seed"],
                    run["state"] + (f": {run['reason']}" if run["reason"] else ""),
                    format_fixed(run["accuracy"]),
                    format_fixed(paired.get(run["seed"], math.nan), sign=True),
                    format_significant(run["time_s"]) if run["state"] == DONE else DASH,
                    format_significant(run["energy_j"], 4),
                    format_significant(run["paper_total"] / 1e9, 4),
                    run["device"] or DASH,
                    run["commit"][:12] or DASH,
                    repr(run["accuracy"]) if run["state"] == DONE else "",
                )
                for run in cell.runs
            ],
            "; ".join(sorted(cell.devices)),
            f"{cell.roles[1]}, {cell.runs[0].get('evaluate_on', '')}, {score}",
        )


def _list_facts(compared: ComparedCell, score: str) -> list[tuple[str, str]]:
    """Return the names and formatted values of the statistics of a cell."""
    cell, against = compared.cell, compared.comparison
    name = score.removesuffix(" (%)")
    facts = [(name, _format_mean(cell, "accuracy", " %" if name != score else ""))]
    has_difference = compared.method != FULL and against.difference.n
    if has_difference:
        d = against.difference
        difference = f"{format_fixed(d.mean, 2, sign=True)} points"
        if d.known:
            difference += f", 95 % interval {format_ends(d.low, d.high)}"
        facts.append(("Difference from full", difference))
        seeds = f"{d.n} paired seed{'s' * (d.n > 1)}"
        facts.append(("Verdict", f"{against.verdict}, from {seeds}"))
    facts.append(("FLOPs, paper's convention", _format_mean(cell, "paper_total", " TFLOPs", TERA)))
    if has_difference:
        facts.append(("FLOPs saved", f"{format_fixed(100 * against.flops_saved, 1)} %"))
    facts.append(("Time", _format_mean(cell, "time_s", " s")))
    if has_difference:
        facts.append(("Time saved", _format_time_saved(compared)))
    facts.append(("Memory, peak", _format_mean(cell, "memory_bytes", " MiB", MEBI)))
    return [*facts, ("Energy", _format_energy(cell))]


def _format_energy(cell: Cell) -> str:
    """Return the mean energy with the idle power, or DASH.

    The result is DASH without finished runs, if one of them has no energy, or if they used
    different devices.
    """
    joules, watts = (cell.mean(key) for key in ENERGY)
    if not math.isfinite(joules) or len(cell.devices) > 1:
        return DASH
    mean = _add_spread(format_significant(joules, 4), format_significant(cell.sd("energy_j"), 4))
    return f"{mean} J, idle {format_significant(watts)} W"


def _format_time_saved(compared: ComparedCell) -> str:
    against, saved = compared.comparison, compared.comparison.time_saved
    if not saved.n:
        return "not compared, because the runs used different devices"
    text = f"{format_fixed(100 * saved.mean, 1)} %"
    if saved.known:
        ends = " to ".join(format_fixed(100 * end, 1) for end in (saved.low, saved.high))
        text += f", 95 % interval {ends}"
    if against.slowed:
        text += f"; runs that probably shared their CPU with another process: {against.slowed}"
    return text


def _format_mean(cell: Cell, key: str, unit: str, scale: float = 1.0) -> str:
    if not cell.n:
        return DASH
    if key == "time_s" and len(cell.devices) > 1:
        return "no mean, because the runs used different devices"
    centre = cell.mean(key) / scale
    digits = 2 if abs(centre) >= 1 else 4
    mean, sd = format_fixed(centre, digits), format_fixed(cell.sd(key) / scale, digits)
    return f"{_add_spread(mean, sd)}{unit}"


def _add_spread(mean: str, sd: str) -> str:
    """Return "mean ± sd", or the mean alone if there is no standard deviation."""
    return mean if sd == DASH else f"{mean} ± {sd}"
