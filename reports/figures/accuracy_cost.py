"""Figure of accuracy against computation: one panel per model and data set, one point per seed."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2DBase, ScaledTranslation

from bench.spec import FULL
from reports.document.captions import format_seed_count
from reports.document.profile import Profile
from reports.document.table import choose_unit, format_significant
from reports.figures.broken_axis import squeeze_below
from reports.figures.style import INK, Looks, add_legend_below, choose_looks
from reports.runs.cells import Cell, build_cells
from reports.statistics import MARGIN, compute_t_interval

ALIKE = 0.01  # cells whose costs differ by less than this share of the range are side by side
STEP = 3.0  # distance between cells drawn side by side, in points (1/72 inch)
ASIDE = 1.5  # shift of the seeds to the left of their cost, in points


def draw_accuracy_cost(
    frame: pd.DataFrame, profile: Profile, title: str, score: str = "accuracy (%)"
) -> Figure:
    """Draw accuracy (%) against the FLOPs of each run, by the paper's convention.

    FLOPs are in percent of full training's mean. They are in TFLOPs or GFLOPs in a panel without a
    result of full training. score: label of the vertical axis.
    """
    groups = build_cells(frame)
    models = list(dict.fromkeys(cell.roles[0] for cell in groups))
    datasets = list(dict.fromkeys(cell.roles[1] for cell in groups))
    methods = choose_looks(cell.roles[2] for cell in groups)
    size = (max(5.0, 2.6 * len(models) + 0.4), 2.3 * len(datasets) + 1.0)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(datasets), len(models), squeeze=False)
    for i, dataset in enumerate(datasets):
        for j, model in enumerate(models):
            here = [cell for cell in groups if cell.roles[:2] == (model, dataset)]
            _draw_panel(grid[i][j], here, methods, figure.dpi_scale_trans)
            grid[i][j].set_title(f"{profile.format_name(model)}\n{profile.format_name(dataset)}")
        grid[i][0].set_ylabel(score)
    figure.suptitle(f"{title} · {profile.name} profile", fontsize=11)
    add_legend_below(figure, _build_legend(methods))
    return figure


def _draw_panel(axes: Axes, here: Sequence[Cell], methods: Looks, inches: Affine2DBase) -> None:
    """Draw one model and data set: seeds as small points, their mean with a 95 % t interval."""
    full = next((cell for cell in here if cell.roles[2] == FULL and cell.n), None)
    printed = choose_unit(cell.mean("paper_total") for cell in here)
    unit = full.mean("paper_total") / 100 if full else printed.flops
    if full:
        whole = format_significant(full.mean("paper_total") / printed.flops)
        axes.set_xlabel(f"computation, % of full ({whole} {printed.name})")
        level = full.mean("accuracy")
        axes.axhline(level, color=INK, linewidth=0.6, zorder=1)
        axes.axhline(level - MARGIN, color=INK, linewidth=0.6, linestyle=(0, (4, 3)), zorder=1)
    else:
        axes.set_xlabel(f"computation, {printed.name}")
    shown = [cell for cell in here if cell.n]
    for cell, shift in zip(shown, _compute_shifts(shown), strict=True):
        _draw_points(axes, cell, unit, methods[cell.roles[2]], shift, inches)
    # Matplotlib's autoscaling ignores points with a shifted transform, so set the limits here.
    costs = [flops / unit for cell in shown for flops in cell.values("paper_total")] or [0.0, 1.0]
    room = 0.12 * (max(costs) - min(costs)) or 0.05 * max(costs)
    axes.set_xlim(min(costs) - room, max(costs) + room)
    squeeze_below(axes, [_collect_extent(cell) for cell in shown])
    lost = [f"{cell.roles[2]}: {format_seed_count(cell)}" for cell in here if cell.n < cell.wanted]
    # Two per line, because four lines would overlap the points above the knee.
    words = "\n".join(",  ".join(lost[i : i + 2]) for i in range(0, len(lost), 2))
    axes.text(0.98, 0.02, words, transform=axes.transAxes, fontsize=6.5,
              color="#A0001C", ha="right", va="bottom")  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))


def _draw_points(
    axes: Axes, cell: Cell, unit: float, look: tuple[str, str], shift: float, inches: Affine2DBase
) -> None:
    """Draw the seeds of a cell and their mean with its interval.

    unit: FLOPs per unit of the horizontal axis. shift: shift to the right, in points.
    """
    colour, marker = look
    left, at = (
        axes.transData + ScaledTranslation((shift + aside) / 72, 0, inches) for aside in (-ASIDE, 0)
    )
    shares, accuracies = [v / unit for v in cell.values("paper_total")], cell.values("accuracy")
    axes.plot(
        shares, accuracies, linestyle="", marker=marker, markersize=3.2, color=colour, alpha=0.6,
        markeredgewidth=0, transform=left, zorder=3,
    )  # fmt: skip
    mean = compute_t_interval(accuracies)
    centre = sum(shares) / len(shares)
    if mean.known:
        axes.plot(
            [centre] * 2, [mean.low, mean.high], color=colour, linewidth=1.2, marker="_",
            markersize=4, transform=at, zorder=4,
        )  # fmt: skip
    axes.plot(
        [centre], [mean.mean], marker=marker, markersize=6, color=colour, markeredgecolor="white",
        markeredgewidth=0.7, transform=at, zorder=5,
    )  # fmt: skip


def _collect_extent(cell: Cell) -> list[float]:
    """Return all accuracies drawn for a cell: its seeds and the ends of its interval."""
    mean = compute_t_interval(cell.values("accuracy"))
    return [*cell.values("accuracy"), *([mean.low, mean.high] if mean.known else [])]


def _compute_shifts(here: Sequence[Cell]) -> list[float]:
    """Return the shift of each cell, in points, so that cells of similar cost do not overlap.

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
        Line2D([], [], color=colour, marker=marker, linestyle="", markersize=6, label=name)
        for name, (colour, marker) in methods.items()
    ]
    return [
        *handles,
        Line2D([], [], color=INK, marker="o", linestyle="", markersize=3.2, alpha=0.5,
               markeredgewidth=0, label="one seed"),
        Line2D([], [], color=INK, marker="o", markersize=5, linewidth=1.2, label="mean, 95 % CI"),
        Line2D([], [], color=INK, linewidth=0.6, label="mean of full"),
        Line2D([], [], color=INK, linewidth=0.6, linestyle=(0, (4, 3)),
               label=f"{MARGIN} points below"),
        Line2D([], [], linestyle="", label="(similar costs are drawn side by side)"),
    ]  # fmt: skip
