"""Figure of the gradients of a layer, all weights against sampled weights.

Each run has a panel of histograms and a panel of distances.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter

from reports.figures.panels import mark_unfinished
from reports.figures.style import FAINT, INK
from reports.runs.gradient_samples import BAND, DRAWS, INSIDE, TAILORED

COLOUR = "#0072B2"
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Median of the Kolmogorov distribution, the limit of √n · distance for continuous distributions.
KOLMOGOROV = 0.8276


@dataclass(frozen=True)
class SampleComparison:
    """Comparison of all gradients of a layer with a sample (see reports.runs.gradient_samples).

    layer: title of the panel.
    """

    layer: str
    histogram: pd.DataFrame
    distances: pd.DataFrame


def draw_gradient_sample(
    comparisons: Mapping[str, SampleComparison], titles: Mapping[str, str], title: str
) -> Figure:
    """Draw one row per run: histograms on the left, Kolmogorov–Smirnov distances on the right.

    titles: title of each wanted run, by run id. Runs without a comparison get empty panels.
    """
    rows = max(1, len(titles))
    figure = Figure(figsize=(7.6, 2.15 * rows + 0.9), layout="constrained")
    grid = figure.subplots(rows, 2, squeeze=False)
    for (left, right), (run, name) in zip(grid, titles.items(), strict=False):
        left.set_title(name)
        if run not in comparisons:
            mark_unfinished(left)
            mark_unfinished(right)
            continue
        right.set_title(comparisons[run].layer)
        _draw_histogram(left, comparisons[run].histogram)
        _draw_distances(right, comparisons[run].distances)
    for axes in grid[:, 1]:
        axes.set_ylim(*_find_limits(comparisons))
    figure.suptitle(title, fontsize=11)
    figure.legend(handles=_build_legend(), loc="outside lower center", ncols=2)
    return figure


def _draw_histogram(axes: Axes, bins: pd.DataFrame) -> None:
    """Draw both histograms on a log scale, because most gradients are near zero or exactly zero."""
    edges = np.append(bins.low, bins.high.iloc[-1])
    power = math.floor(math.log10(edges[-1]))
    scaled = edges / 10.0**power
    floor = 0.5 / TAILORED  # half the share of one sampled weight
    axes.stairs(bins.everything, scaled, baseline=floor, fill=True, color=FAINT)
    axes.stairs(bins.sampled, scaled, baseline=floor, color=COLOUR, linewidth=1.2)
    axes.set_yscale("log")
    # The default formatter of log axes writes TeX, which style.SETTINGS turns off.
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.set_ylim(floor, 1.5 * max(bins.everything.max(), bins.sampled.max()))
    axes.set_xlim(scaled[0], scaled[-1])
    axes.set_xlabel(f"gradient (10{str(power).translate(RAISED)})")
    axes.set_ylabel("share of weights")


def _draw_distances(axes: Axes, distances: pd.DataFrame) -> None:
    """Draw the median and band of the distance by sample size, on log scales.

    A dashed line shows the distance that chance alone would give.
    """
    sizes = distances["size"]
    axes.fill_between(sizes, distances.low, distances.high, color=COLOUR, alpha=0.2, linewidth=0)
    axes.plot(sizes, distances["median"], color=COLOUR, marker="o", markersize=3.2, linewidth=1.2)
    axes.plot(sizes, KOLMOGOROV / np.sqrt(sizes), color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    here = distances[sizes == TAILORED].iloc[0]
    axes.annotate(
        f"{here['median']:.3f} at {TAILORED:,}", (TAILORED, here["median"]), xytext=(-6, -8),
        textcoords="offset points", ha="right", va="top", fontsize=7, color=COLOUR,
    )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("sampled weights")
    axes.set_ylabel("KS distance")


def _find_limits(comparisons: Mapping[str, SampleComparison]) -> tuple[float, float]:
    """Return y limits that contain the distances of all runs, with some space."""
    lows = [c.distances.low[c.distances.low > 0].min() for c in comparisons.values()]
    highs = [c.distances.high.max() for c in comparisons.values()]
    return 0.8 * min(lows, default=0.01), 1.2 * max(highs, default=0.1)


def _build_legend() -> list[Line2D | Patch]:
    low, high = (round(100 * end) for end in BAND)
    return [
        Patch(color=FAINT, label=f"all weights of the layer (inner {100 * INSIDE:g} %)"),
        Line2D([], [], color=COLOUR, linewidth=1.2, label=f"{TAILORED:,} sampled weights"),
        Line2D([], [], color=COLOUR, marker="o", markersize=3.2, linewidth=1.2,
               label=f"distance to all weights: median, {low}–{high} % of {DRAWS} samples"),
        Line2D([], [], color=INK, linewidth=0.8, linestyle=(0, (4, 3)),
               label="0.83 / √n: median distance from chance alone"),
    ]  # fmt: skip
