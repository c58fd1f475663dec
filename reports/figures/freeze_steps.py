"""Figure of freeze steps: one panel per model and strategy, one point per layer and seed."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bench.strategy_api.built_in import find_built_in
from reports.document.profile import Profile
from reports.figures.style import INK, choose_looks

CROWDED = 2000  # panels with more points than this are rasterized in the SVG
WIDTH_OF_SEEDS = 0.6  # width of the points of one layer, as a share of the space between layers


def draw_freeze_steps(freeze_steps: pd.DataFrame, profile: Profile, title: str) -> Figure:
    """Draw the freeze steps of one data set (see Reader.read_freeze_steps in
    reports.runs.run_table).

    Methods that never freeze are left out. Layers that never froze are hollow points on the line
    "never" above the end of training.
    """
    never = [name for name, facts in find_built_in().items() if not facts.freezes]
    freeze_steps = freeze_steps[~freeze_steps.method.isin(never)]
    models = list(dict.fromkeys(freeze_steps.model))
    methods = choose_looks(freeze_steps.method)
    rows, columns = max(1, len(models)), max(1, len(methods))
    size = (max(5.9, 2.6 * columns + 0.7), 1.7 * rows + 0.9)  # at least as wide as the legend
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex="row", sharey="row")
    for i, model in enumerate(models):
        longest = float(freeze_steps[freeze_steps.model == model].epochs.max())
        for j, (method, (colour, marker)) in enumerate(methods.items()):
            here = freeze_steps[(freeze_steps.model == model) & (freeze_steps.method == method)]
            _draw_panel(grid[i][j], here, longest, (colour, marker))
            if i == 0:
                grid[i][j].set_title(method, color=INK, fontweight="bold")
            if j == 0:
                grid[i][j].set_ylabel(
                    f"{profile.format_name(model).replace(' (', chr(10) + '(')}\nepoch"
                )
    for axes in grid[-1]:
        axes.set_xlabel("layer, in order of the forward pass")
    figure.suptitle(f"{title} · {profile.name} profile", fontsize=11)
    figure.legend(handles=_build_legend(), loc="outside lower center", ncols=3)
    return figure


def _draw_panel(axes: Axes, here: pd.DataFrame, longest: float, look: tuple[str, str]) -> None:
    """Draw one model and strategy. `longest` is the longest training in the row, in epochs."""
    if here.empty:
        axes.text(
            0.5, 0.5, "no finished run", transform=axes.transAxes, ha="center", color="#666666"
        )
        return
    colour, marker = look
    seeds, never = sorted(here.seed.unique()), longest * 1.14
    shift = {seed: (i + 0.5) / len(seeds) - 0.5 for i, seed in enumerate(seeds)}
    place = here.layer + WIDTH_OF_SEEDS * here.seed.map(shift)
    frozen = here.frozen_at.notna()
    axes.plot(
        place[frozen], here.frozen_at[frozen], linestyle="", marker=marker, markersize=3.2,
        color=colour, alpha=0.75, markeredgewidth=0, zorder=3, rasterized=len(here) > CROWDED,
    )  # fmt: skip
    axes.plot(
        place[~frozen], [never] * int((~frozen).sum()), linestyle="", marker=marker,
        markersize=3.2, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=0.6,
        zorder=3, rasterized=len(here) > CROWDED,
    )  # fmt: skip
    end = float(here.epochs.max())
    axes.axhline(end, color=INK, linewidth=0.6, linestyle=(0, (4, 3)), zorder=1)
    epochs = MaxNLocator(4, integer=True).tick_values(0, longest)
    ticks = [tick for tick in epochs if 0 <= tick < longest * 0.93]
    axes.set_yticks([*ticks, never], [*(f"{tick:g}" for tick in ticks), "never"])
    axes.set_ylim(-0.04 * longest, longest * 1.24)
    axes.set_xlim(here.layer.min() - 0.8, here.layer.max() + 0.8)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))


def _build_legend() -> list[Line2D]:
    look: dict[str, Any] = {"color": INK, "linestyle": "", "marker": "o", "markersize": 4}
    return [
        Line2D([], [], **look, label="layer that froze (one seed)"),
        Line2D([], [], **look, markerfacecolor="none", label="layer that never froze"),
        Line2D([], [], color=INK, linewidth=0.6, linestyle=(0, (4, 3)), label="end of training"),
    ]
