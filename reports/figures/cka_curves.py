"""Figure of the CKA between layers and a trained reference during training: one panel per run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.figures.panels import mark_unfinished
from reports.figures.style import INK
from reports.runs.recordings import SETTLED, find_settled_epoch

COLUMNS = 2
GAP = 0.062  # distance between two labels, as a share of the panel's height
# Range of the colour map that is visible on both dark and white backgrounds.
DARKEST, LIGHTEST = 0.25, 0.82


def draw_cka_curves(curves: pd.DataFrame, titles: Mapping[str, str], title: str) -> Figure:
    """Draw the layers in `curves` (see reports.runs.recordings.read_curves), coloured by depth.

    titles: title of each wanted run, by run id. Runs without curves get an empty panel.
    """
    rows = max(1, math.ceil(len(titles) / COLUMNS))
    figure = Figure(figsize=(4.4 * COLUMNS, 2.5 * rows + 0.8), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False, gridspec_kw={"wspace": 0.04}).ravel()
    for axes in grid[len(titles) :]:
        axes.remove()
    for axes, (run, name) in zip(grid, titles.items(), strict=False):
        axes.set_title(name)
        here = curves[curves.id == run]
        if here.empty:
            mark_unfinished(axes)
        else:
            _draw_panel(axes, here)
    figure.suptitle(title, fontsize=11)
    figure.legend(handles=_build_legend(), loc="outside lower center", ncols=2)
    return figure


def _draw_panel(axes: Axes, here: pd.DataFrame) -> None:
    """Draw one run: a labelled curve per layer, with a mark at the epoch where it settles."""
    ends, labels, colours = [], [], []
    for (layer, name), curve in here.groupby(["layer", "name"]):
        depth = float(curve.depth.iloc[0])
        colour = mpl.colormaps["viridis"](DARKEST + (LIGHTEST - DARKEST) * depth)
        axes.plot(curve.epoch, curve.cka, color=colour, linewidth=1.3)
        settled = curve[curve.epoch == find_settled_epoch(curve)]
        axes.plot(
            settled.epoch, settled.cka, marker="o", linestyle="", markersize=4.5,
            markerfacecolor="white", markeredgecolor=colour, markeredgewidth=1.2, zorder=3,
        )  # fmt: skip
        ends.append(float(curve.cka.iloc[-1]))
        labels.append(f"{layer}  {name}")
        colours.append(colour)
    last = float(here.epoch.max())
    axes.set_xlim(0, last)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylim(*axes.get_ylim())  # fix the limits, so that labels do not change them
    axes.set_xlabel("epoch")
    axes.set_ylabel("CKA with the reference")
    low, high = axes.get_ylim()
    for end, height, label, colour in zip(
        ends,
        spread_heights([(end - low) / (high - low) for end in ends], GAP),
        labels,
        colours,
        strict=True,
    ):
        axes.annotate(
            label, (last, end), xytext=(1.07, height), textcoords="axes fraction", fontsize=7,
            color=INK, va="center", annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.9,
                        "shrinkA": 1, "shrinkB": 0, "relpos": (0, 0.5)},
        )  # fmt: skip


def spread_heights(heights: Sequence[float], gap: float) -> list[float]:
    """Return heights (0 to 1) in the same order, moved to be at least `gap` apart.

    NaN counts as 0.
    """
    wanted = np.nan_to_num(np.asarray(heights, dtype=float))
    order = np.argsort(wanted, kind="stable")
    placed = wanted[order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    ceiling = 1.0
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - gap
    moved = np.empty_like(placed)
    moved[order] = placed
    return [float(height) for height in moved]


def _build_legend() -> list[Line2D]:
    return [
        Line2D([], [], color=INK, linewidth=1.3,
               label="one layer, from first (dark) to last (light)"),
        Line2D([], [], color=INK, marker="o", linestyle="", markersize=4.5,
               markerfacecolor="white", markeredgewidth=1.2,
               label=f"CKA varies by at most {SETTLED:g} from here on"),
    ]  # fmt: skip
