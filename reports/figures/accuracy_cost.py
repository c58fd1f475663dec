"""Figure of accuracy against computation: one panel per model and data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2DBase, ScaledTranslation

from bench.spec import FULL
from reports.document.captions import format_seed_count, name_score
from reports.document.profile import Profile
from reports.document.table import choose_unit, format_fixed, format_significant
from reports.document.terminal import shorten_middle
from reports.figures.broken_axis import squeeze_below
from reports.figures.style import INK, Looks, add_legend_below, choose_looks
from reports.runs.cells import Cell, build_cells
from reports.statistics import MARGIN, Interval, compute_t_interval

ALIKE = 0.01  # cells whose costs differ by less than this share of the range are side by side
STEP = 3.0  # distance between cells drawn side by side, in points (1/72 inch)
ASIDE = 1.5  # shift of the seeds to the left of their cost, in points


Compare = Callable[[Cell, Cell], tuple[Mapping[int, float], Interval]]


@dataclass(frozen=True)
class Drawn:
    """Values of a cell in its panel, in the order of the cell's seeds.

    values: differences from full training in points, or accuracies in percent.
    interval: interval of the mean of the values, which is not drawn if its ends are unknown.
    """

    cell: Cell
    flops: Sequence[float]
    values: Sequence[float]
    interval: Interval


def draw_accuracy_cost(
    frame: pd.DataFrame,
    profile: Profile,
    title: str,
    compare: Compare,
    score: str = "accuracy (%)",
) -> Figure:
    """Draw accuracy against the FLOPs of each run, by the paper's convention.

    The vertical axis is the difference from full training of the same seed, in points. FLOPs are in
    percent of full training's mean. A panel without a result of full training shows accuracies (%)
    and TFLOPs or GFLOPs instead.
    compare: function that returns the differences of a cell from full training by seed (points),
    and the interval of their mean.
    score: name of the score of the runs.
    """
    groups = build_cells(frame)
    models = list(dict.fromkeys(cell.roles[0] for cell in groups))
    datasets = list(dict.fromkeys(cell.roles[1] for cell in groups))
    methods = choose_looks(cell.roles[2] for cell in groups)
    size = (max(5.0, 2.6 * len(models) + 0.4), 2.4 * len(datasets) + 1.0)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(datasets), len(models), squeeze=False)
    for i, dataset in enumerate(datasets):
        for j, model in enumerate(models):
            here = [cell for cell in groups if cell.roles[:2] == (model, dataset)]
            full = next((cell for cell in here if cell.roles[2] == FULL and cell.n), None)
            measured = [_measure(cell, full, compare) for cell in here if cell.n]
            shown = [drawn for drawn in measured if drawn.values]
            _draw_panel(grid[i][j], shown, full, methods, figure.dpi_scale_trans)
            _name_missing(grid[i][j], here)
            names = [profile.format_name(model), profile.format_name(dataset)]
            label = score
            if full:
                names.append(f"full training: {_format_score(full)}")
                label = f"{score.removesuffix(' (%)')} − full (points)"
            grid[i][j].set_title("\n".join(names))
            if j == 0 or label != grid[i][0].get_ylabel():
                grid[i][j].set_ylabel(label)
    figure.suptitle(f"{title} · {profile.name} profile", fontsize=11)
    add_legend_below(figure, _build_legend(methods))
    return figure


def _format_score(cell: Cell) -> str:
    """Return the mean score of a cell as text, with "%" unless the score is a loss."""
    heading = name_score({run["metric"] for run in cell.finished})
    return format_fixed(cell.mean("accuracy"), 1) + " %" * heading.endswith("(%)")


def _measure(cell: Cell, full: Cell | None, compare: Compare) -> Drawn:
    """Return the values to draw for a cell.

    They are differences from full training, or accuracies if `full` is None.
    """
    flops = cell.by_seed("paper_total")
    if full is None:
        values: Mapping[int, float] = cell.by_seed("accuracy")
        interval = compute_t_interval(list(values.values()))
    elif cell is full:
        values, interval = dict.fromkeys(flops, 0.0), Interval(0.0, math.nan, math.nan, 1)
    else:
        values, interval = compare(cell, full)
    return Drawn(cell, [flops[seed] for seed in values], list(values.values()), interval)


def _draw_panel(
    axes: Axes,
    shown: Sequence[Drawn],
    full: Cell | None,
    methods: Looks,
    inches: Affine2DBase,
) -> None:
    """Draw one model and data set: seeds as small points, and each mean with its 95 % interval."""
    printed = choose_unit(drawn.cell.mean("paper_total") for drawn in shown)
    unit = full.mean("paper_total") / 100 if full else printed.flops
    if full:
        whole = format_significant(full.mean("paper_total") / printed.flops)
        axes.set_xlabel(f"computation, % of full ({whole} {printed.name})")
        axes.axhline(0, color=INK, linewidth=0.6, zorder=1)
        axes.axhline(-MARGIN, color=INK, linewidth=0.6, linestyle=(0, (4, 3)), zorder=1)
    else:
        axes.set_xlabel(f"computation, {printed.name}")
    for drawn, shift in zip(shown, _compute_shifts([drawn.cell for drawn in shown]), strict=True):
        _draw_points(axes, drawn, unit, methods[drawn.cell.roles[2]], shift, inches)
    # Matplotlib's autoscaling ignores points with a shifted transform, so set the limits here.
    costs = [flops / unit for drawn in shown for flops in drawn.flops] or [0.0, 1.0]
    room = 0.12 * (max(costs) - min(costs)) or 0.05 * max(costs)
    axes.set_xlim(min(costs) - room, max(costs) + room)
    ends = [
        [drawn.interval.low, drawn.interval.high] if drawn.interval.known else [] for drawn in shown
    ]
    squeeze_below(axes, [[*drawn.values, *more] for drawn, more in zip(shown, ends, strict=True)])
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _name_missing(axes: Axes, here: Sequence[Cell]) -> None:
    """Write the names of cells without all results into a corner of the panel."""
    lost = [f"{cell.roles[2]}: {format_seed_count(cell)}" for cell in here if cell.n < cell.wanted]
    # Two per line, because four lines would overlap the points above the knee.
    words = "\n".join(",  ".join(lost[i : i + 2]) for i in range(0, len(lost), 2))
    axes.text(0.98, 0.02, words, transform=axes.transAxes, fontsize=6.5,
              color="#A0001C", ha="right", va="bottom")  # fmt: skip


def _draw_points(
    axes: Axes, drawn: Drawn, unit: float, look: tuple[str, str], shift: float, inches: Affine2DBase
) -> None:
    """Draw the seeds of a cell, and their mean with its interval.

    unit: FLOPs per unit of the horizontal axis.
    shift: shift to the right, in typographic points.
    """
    colour, marker = look
    left, at = (
        axes.transData + ScaledTranslation((shift + aside) / 72, 0, inches) for aside in (-ASIDE, 0)
    )
    shares = [flops / unit for flops in drawn.flops]
    axes.plot(
        shares, drawn.values, linestyle="", marker=marker, markersize=3.2, color=colour, alpha=0.6,
        markeredgewidth=0, transform=left, zorder=3,
    )  # fmt: skip
    mean, centre = drawn.interval, sum(shares) / len(shares)
    if mean.known:
        axes.plot(
            [centre] * 2, [mean.low, mean.high], color=colour, linewidth=1.2, marker="_",
            markersize=4, transform=at, zorder=4,
        )  # fmt: skip
    axes.plot(
        [centre], [mean.mean], marker=marker, markersize=6, color=colour, markeredgecolor="white",
        markeredgewidth=0.7, transform=at, zorder=5,
    )  # fmt: skip


def _compute_shifts(here: Sequence[Cell]) -> list[float]:
    """Return a shift for each cell, in typographic points, so that similar costs do not overlap.

    Shifted cells keep the order of their costs.
    """
    costs = [cell.mean("paper_total") for cell in here]
    near = ALIKE * (max(costs, default=0.0) - min(costs, default=0.0))
    order = sorted(range(len(costs)), key=lambda i: costs[i])
    groups: list[list[int]] = []
    for i in order:
        if groups and costs[i] - costs[groups[-1][0]] <= near:
            groups[-1].append(i)
        else:
            groups.append([i])
    shifts = [0.0] * len(costs)
    for group in groups:
        for place, i in enumerate(group):
            shifts[i] = STEP * (place - (len(group) - 1) / 2)
    return shifts


def _build_legend(methods: Looks) -> list[Line2D]:
    """Return legend handles for the methods, the kinds of points and the lines."""
    handles = [
        Line2D(
            [],
            [],
            color=colour,
            marker=marker,
            linestyle="",
            markersize=6,
            label=shorten_middle(name, 40),
        )
        for name, (colour, marker) in methods.items()
    ]
    return [
        *handles,
        Line2D([], [], color=INK, marker="o", linestyle="", markersize=3.2, alpha=0.5,
               markeredgewidth=0, label="one seed"),
        Line2D([], [], color=INK, marker="o", markersize=5, linewidth=1.2, label="mean, 95 % CI"),
        Line2D([], [], color=INK, linewidth=0.6, label="full training"),
        Line2D([], [], color=INK, linewidth=0.6, linestyle=(0, (4, 3)),
               label=f"{MARGIN} points below"),
        Line2D([], [], linestyle="", label="(similar costs are drawn side by side)"),
    ]  # fmt: skip
