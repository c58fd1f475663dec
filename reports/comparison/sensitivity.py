"""Comparison of runs at several values of a strategy's option with runs at its default value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.spec import FULL
from reports import statistics
from reports.comparison.against_full import compare_with_full
from reports.comparison.equal_cost_table import is_complete
from reports.comparison.method_rows import expand_interval
from reports.comparison.paired_difference import compare_accuracy
from reports.document import captions
from reports.document.profile import Profile
from reports.document.table import Row, Unit, Value, choose_unit, to_number
from reports.paper.printed_tables import find_entry, get_number
from reports.runs.cells import Cell, build_cells


@dataclass(frozen=True)
class VariedOption:
    """Option of a strategy that a table of the paper varies.

    table: number of the paper's table.
    column: the table's column for the option.
    option: name of the option.
    head: heading for the option, with its unit.
    """

    table: int
    column: str
    option: str
    default: float
    head: str

    def get_value(self, cell: Cell) -> float:
        """Return the option's value in a cell; NaN if the cell's strategy has no such option."""
        return float(cell.runs[0]["options"].get(self.option, math.nan))


@dataclass(frozen=True)
class Sensitivity:
    """Cells and rows of a varied option.

    Cells without the option come first. Cells with the option follow in the order of its values.
    """

    option: VariedOption
    cells: Sequence[Cell]
    rows: Sequence[Row]
    unit: Unit

    @property
    def pairs(self) -> list[tuple[str, ...]]:
        """Pairs of model and data set, as their roles."""
        return list(dict.fromkeys(cell.roles[:2] for cell in self.cells))

    def select_by_value(self, pair: tuple[str, ...]) -> dict[float, tuple[Cell, Row]]:
        """Return the cells and rows of a pair, by the option's value.

        Cells without the option are left out.
        """
        found = {
            self.option.get_value(cell): (cell, row)
            for cell, row in zip(self.cells, self.rows, strict=True)
            if cell.roles[:2] == pair
        }
        return {value: both for value, both in found.items() if not math.isnan(value)}


def build_sensitivity(frame: pd.DataFrame, profile: Profile, option: VariedOption) -> Sensitivity:
    """Return the rows of all cells, unrounded, with the paper's numbers."""
    groups = build_cells(frame)
    pairs = list(dict.fromkeys(cell.roles[:2] for cell in groups))
    groups.sort(
        key=lambda cell: (pairs.index(cell.roles[:2]), _get_sort_key(option.get_value(cell)))
    )
    rows = [_build_row(cell, groups, profile, option) for cell in groups]
    compared = [i for i, cell in enumerate(groups) if _is_compared(cell, option)]
    adjusted = statistics.apply_holm(
        {i: to_number(rows[i]["p_different"]) for i in compared}, len(compared)
    )
    unit = choose_unit(cell.mean("paper_total") for cell in groups)
    whole = [{**row, "p_different": adjusted.get(i, math.nan)} for i, row in enumerate(rows)]
    return Sensitivity(option, groups, whole, unit)


def _is_compared(cell: Cell, option: VariedOption) -> bool:
    """Return whether a cell has the option, at a value other than the default."""
    value = option.get_value(cell)
    return not math.isnan(value) and value != option.default


def _build_row(cell: Cell, groups: Sequence[Cell], profile: Profile, option: VariedOption) -> Row:
    model, dataset, method = cell.roles
    value = option.get_value(cell)
    peers = [other for other in groups if other.roles[:2] == cell.roles[:2]]
    nothing = Cell((model, dataset, FULL), [])
    full = next((c for c in peers if c.roles[2] == FULL), nothing)
    default = next((c for c in peers if option.get_value(c) == option.default), nothing)
    to_default = compare_accuracy(cell, default)
    shown = to_default.interval if _is_compared(cell, option) else statistics.NO_INTERVAL
    against = compare_with_full(cell, full)
    devices = frozenset[str]().union(*(other.devices for other in peers))
    timed = len(devices) < 2
    saved = {"flops_saved": against.flops_saved, "exact_saved": against.exact_saved}
    values: dict[str, Value] = {
        "model": profile.format_name(model),
        "dataset": profile.format_name(dataset),
        "method": method,
        "value": None if math.isnan(value) else value,
        "setting": _format_setting(value, option, method),
        "cell": str(cell.runs[0]["cell"]),
        "count": f"{cell.n} of {cell.wanted}",
        "seeds": captions.format_seed_count(cell),
        "mark": captions.format_marks(cell),
        "time_mark": captions.format_marks(cell, timed=True, compared_devices=devices),
        "accuracy": cell.mean("accuracy"),
        "accuracy_sd": cell.sd("accuracy"),
        **expand_interval("to_default", shown),
        "paired_seeds": shown.n,
        "wanted": cell.wanted,
        "detectable": statistics.compute_detectable_difference(shown),
        # The missing runs may have diverged, so the finished ones alone are not tested.
        "p_different": to_default.p_different if is_complete(cell, default) else math.nan,
        "time_s": cell.mean("time_s") if timed else None,
        "time_s_sd": cell.sd("time_s") if timed else None,
        "paper_total": cell.mean("paper_total"),
        "exact_total": cell.mean("exact_total"),
        "decide_flops": cell.mean("decide_flops"),
        "memory_bytes": cell.mean("memory_bytes"),
        **(saved if method != FULL else dict.fromkeys(saved)),
    }
    return values | _look_up_printed(
        option, profile.find_role(model), profile.find_role(dataset), value
    )


def _look_up_printed(
    option: VariedOption, model: str, dataset: str, value: float
) -> dict[str, Value]:
    """Return the paper's numbers at one value of the option.

    The difference in accuracy is relative to the paper's accuracy at the default.
    """

    def look_up(at: float, key: str) -> float | None:
        names: dict[str, str | float] = {"model": model, "dataset": dataset, option.column: at}
        return get_number(find_entry(option.table, **names), key)

    accuracy, default = look_up(value, "accuracy"), look_up(option.default, "accuracy")
    difference = None
    if accuracy is not None and default is not None and value != option.default:
        difference = accuracy - default
    return {
        "published_accuracy": accuracy,
        "published_difference": difference,
        "published_time_s": look_up(value, "time_s"),
    }


def _format_setting(value: float, option: VariedOption, method: str) -> str:
    if math.isnan(value):
        return method
    return f"{value:g}" + " (default)" * (value == option.default)


def _get_sort_key(value: float) -> float:
    """Return a key that sorts cells without the option (such as full training) first."""
    return -math.inf if math.isnan(value) else value
