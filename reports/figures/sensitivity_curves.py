"""Figure of a result over the values of one option, for our runs and for the paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.figures.style import INK
from reports.statistics import compute_t_interval

OURS, PRINTED = "#0072B2", "#8A8A8A"
Curve = Mapping[float, Mapping[int, float]]  # value of the option: seed: result


@dataclass(frozen=True)
class Panel:
    """Values of one quantity over the option's values on one pair, from our runs and the paper.

    relative: whether both vertical axes (ours and the paper's) span the same percentage around
    their centres. Otherwise, both span the same number of units.
    """

    title: str
    quantity: str
    ours: Curve
    printed: Mapping[float, float]
    relative: bool = False


def draw_sensitivity_curves(
    panels: Sequence[Panel], option: str, default: float, title: str
) -> Figure:
    """Draw one column per panel: our runs above, the paper below.

    The values of the option are evenly spaced. A dotted line marks the default.
    """
    figure = Figure(figsize=(max(4.6, 3.0 * len(panels)), 4.4), layout="constrained")
    grid = figure.subplots(2, len(panels), squeeze=False, sharex="col",
                           gridspec_kw={"height_ratios": (3, 2)})  # fmt: skip
    for j, panel in enumerate(panels):
        upper, lower = grid[0][j], grid[1][j]
        places = {value: i for i, value in enumerate(sorted(panel.ours))}
        upper.set_title(panel.title)
        upper.set_ylabel(panel.quantity)
        lower.set_ylabel(f"paper's\n{panel.quantity}")
        _draw_ours(upper, panel.ours, places)
        _draw_printed(lower, panel.printed, places)
        _match_spans(upper, lower, panel.relative)
        for axes in (upper, lower):
            axes.axvline(places.get(default, math.nan), color=INK, linewidth=0.7, linestyle=":",
                         zorder=1)  # fmt: skip
            axes.set_xlim(-0.4, len(places) - 0.6)
        lower.set_xticks(list(places.values()), [f"{value:g}" for value in places])
        lower.set_xlabel(option)
    figure.suptitle(title, fontsize=11)
    handles = [
        Line2D([], [], color=OURS, marker="o", markersize=5, linewidth=1.2, label="mean, 95 % CI"),
        Line2D([], [], color=OURS, alpha=0.35, marker="o", markersize=2.6, linewidth=0.8,
               label="one seed"),
        Line2D([], [], color=PRINTED, marker="s", markersize=4.5, linewidth=1.2, label="the paper"),
        Line2D([], [], color=INK, linewidth=0.7, linestyle=":", label="default"),
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _draw_ours(axes: Axes, curve: Curve, places: Mapping[float, int]) -> None:
    known = {value: runs for value, runs in curve.items() if runs}
    if not known:
        axes.text(0.5, 0.5, "no finished run", transform=axes.transAxes, ha="center",
                  color="#666666")  # fmt: skip
        return
    # Interrupt the lines at a value that is left out, so that they do not suggest a result there.
    at = range(len(places))
    for seed in sorted({seed for runs in known.values() for seed in runs}):
        axes.plot(
            at, [curve[value].get(seed, math.nan) for value in places], color=OURS,
            alpha=0.35, linewidth=0.8, marker="o", markersize=2.6, markeredgewidth=0, zorder=2,
        )  # fmt: skip
    means = {value: compute_t_interval(list(known[value].values())) for value in sorted(known)}
    for value, mean in means.items():
        if mean.known:
            axes.plot([places[value]] * 2, [mean.low, mean.high], color=OURS, linewidth=1.2,
                      marker="_", markersize=5, zorder=3)  # fmt: skip
    axes.plot(
        at, [means[value].mean if value in means else math.nan for value in places], color=OURS,
        linewidth=1.2, marker="o", markersize=5.5, markeredgecolor="white", markeredgewidth=0.7,
        zorder=4,
    )  # fmt: skip
    for value in places.keys() - known.keys():
        axes.text(places[value], 0.03, "no value", transform=axes.get_xaxis_transform(),
                  rotation=90, fontsize=6.5, color="#666666", ha="center", va="bottom",
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip


def _draw_printed(axes: Axes, values: Mapping[float, float], places: Mapping[float, int]) -> None:
    at = [value for value in sorted(values) if not math.isnan(values[value])]
    axes.plot([places[value] for value in at], [values[value] for value in at], color=PRINTED,
              linewidth=1.2, marker="s", markersize=4.5, zorder=3)  # fmt: skip


def _match_spans(upper: Axes, lower: Axes, relative: bool) -> None:
    """Give both rows of a column the span of the wider one, in units or relative to the middle.

    The spans stay unchanged if a row is empty.
    """
    if not all(np.isfinite(axes.dataLim.get_points()).all() for axes in (upper, lower)):
        return
    ends = [axes.get_ylim() for axes in (upper, lower)]
    middles = [(low + high) / 2 for low, high in ends]
    scales = middles if relative else [1.0, 1.0]
    reach = max((high - low) / 2 / scale for (low, high), scale in zip(ends, scales, strict=True))
    for axes, middle, scale in zip((upper, lower), middles, scales, strict=True):
        axes.set_ylim(middle - reach * scale, middle + reach * scale)
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
