"""Figures of the scores of the predictor and of baselines on held-out runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.figures.style import INK, SPARE, Looks
from reports.statistics import compute_t_interval

# Okabe and Ito's palette. The predictor has the colour and marker of SmartFRZ in other figures.
JUDGES = {
    "predictor": ("#0072B2", "D"),
    "progress alone": ("#E69F00", "s"),
    "displacement alone": ("#009E73", "^"),
    "both": ("#CC79A7", "v"),
}
SHOWN = {"both": "progress and displacement"}  # "both" is also the name of a split
SPLITS = {
    "run": "unseen\nrun",
    "family": "unseen\nfamily",
    "task": "unseen\ntask",
    "both": "unseen family\nand task",
}
SCORES = {"auroc": "AUROC", "precision": "average precision"}
WIDTH = 0.8  # width of all judges of a split, as a share of the space between two splits
LARGEST = 70.0  # area of the largest mark in a reliability diagram, in square points (1/72 inch)


def draw_split_scores(
    runs: pd.DataFrame, title: str = "Scores of the predictor on each held-out run"
) -> Figure:
    """Draw AUROC and average precision of every run, by split and judge, with their means.

    A judge is the predictor or a baseline.
    runs: one row per split, judge and held-out run, with the columns split, judge, run, auroc and
    precision. Runs without a score (NaN) are left out. Means have 95 % t intervals over the runs.
    """
    judges = _choose_looks(runs.judge)
    splits = list(dict.fromkeys(runs.split))
    figure = Figure(figsize=(max(6.0, 2.6 * len(splits)), 3.7), layout="constrained")
    panels = figure.subplots(1, len(SCORES), gridspec_kw={"wspace": 0.06})
    for axes, (key, name) in zip(panels, SCORES.items(), strict=True):
        for i, split in enumerate(splits):
            for j, (judge, look) in enumerate(judges.items()):
                here = runs[(runs.split == split) & (runs.judge == judge)]
                place = i + WIDTH * ((j + 0.5) / len(judges) - 0.5)
                _draw_column(axes, place, WIDTH / len(judges), here[key].dropna().tolist(), look)
        axes.set_xticks(range(len(splits)), [SPLITS.get(split, split) for split in splits])
        axes.set_xlim(-0.55, len(splits) - 0.45)
        axes.grid(visible=False, axis="x")
        axes.set_ylabel(name)
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        if key == "auroc":
            axes.axhline(0.5, color=INK, linewidth=0.6, linestyle=(0, (4, 3)), zorder=1)
    handles = [
        *_build_handles(judges),
        Line2D([], [], color=INK, marker="o", linestyle="", markersize=2.6, alpha=0.4,
               markeredgewidth=0, label="one run"),
        Line2D([], [], color=INK, marker="o", markersize=5, linewidth=1.4, label="mean, 95 % CI"),
        Line2D([], [], color=INK, linewidth=0.6, linestyle=(0, (4, 3)), label="chance (AUROC)"),
    ]  # fmt: skip
    _add_title_legend(figure, title, handles)
    return figure


def draw_reliability(
    bins: pd.DataFrame, title: str = "Reliability: P(freeze) against the share converged"
) -> Figure:
    """Draw a reliability diagram per split: P(freeze) against the share of converged layers.

    bins: one row per split, judge (the predictor or a baseline) and bin of P(freeze). Columns:
    split, judge, p, share and n. p is the mean P(freeze) of the moments in the bin. share is the
    fraction of these moments at which the layer had converged, and n is their number. The area of a
    mark is proportional to n.
    """
    judges = _choose_looks(bins.judge)
    splits = list(dict.fromkeys(bins.split))
    figure = Figure(figsize=(max(3.6, 2.4 * len(splits)), 3.5), layout="constrained")
    grid = figure.subplots(1, max(1, len(splits)), squeeze=False, sharex=True, sharey=True)[0]
    largest = max(bins.n, default=1)
    for axes, split in zip(grid, splits, strict=False):
        axes.set_title(SPLITS.get(split, split).replace("\n", " "))
        for judge, (colour, marker) in judges.items():
            here = bins[(bins.split == split) & (bins.judge == judge)].sort_values("p")
            axes.plot(here.p, here.share, color=colour, linewidth=0.9)
            axes.scatter(
                here.p, here.share, s=LARGEST * here.n / largest, color=colour, marker=marker,
                alpha=0.75, linewidth=0, zorder=3,
            )  # fmt: skip
    for axes in grid:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, linestyle=(0, (4, 3)), zorder=1)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_aspect("equal")
        axes.set_xlabel("P(freeze)")
    grid[0].set_ylabel("share converged")
    handles = [
        *_build_handles(judges),
        Line2D([], [], color=INK, linewidth=0.6, linestyle=(0, (4, 3)), label="calibrated"),
        Line2D([], [], linestyle="", label=f"(area: number of moments, at most {largest:,})"),
    ]
    _add_title_legend(figure, title, handles)
    return figure


def _draw_column(
    axes: Axes, place: float, width: float, values: Sequence[float], look: tuple[str, str]
) -> None:
    """Draw one judge on one split: a small point per run, and the mean with its interval."""
    if not values:
        axes.annotate(
            "no run", (place, 0.5), xycoords=("data", "axes fraction"), rotation=90,
            ha="center", va="center", fontsize=6.5, color="#666666",
        )  # fmt: skip
        return
    colour, marker = look
    # Multiples of the golden ratio (mod 1) fill the width evenly for any number of runs.
    aside = (np.arange(len(values)) * 0.618034 % 1 - 0.5) * width * 0.7
    axes.plot(
        place + aside, values, linestyle="", marker="o", markersize=2.6, color=colour, alpha=0.4,
        markeredgewidth=0, zorder=2,
    )  # fmt: skip
    mean = compute_t_interval(values)
    if mean.known:
        axes.plot([place] * 2, [mean.low, mean.high], color=INK, linewidth=1.4, zorder=3)
    axes.plot(
        [place], [mean.mean], marker=marker, markersize=5.5, color=colour, markeredgecolor=INK,
        markeredgewidth=0.8, zorder=4,
    )  # fmt: skip


def _choose_looks(names: pd.Series[str]) -> Looks:
    """Return colour and marker of each judge. Judges without a fixed look get spare looks."""
    found = dict.fromkeys(names)
    strangers = [name for name in found if name not in JUDGES]
    known = {name: look for name, look in JUDGES.items() if name in found}
    return known | {name: SPARE[i % len(SPARE)] for i, name in enumerate(strangers)}


def _build_handles(judges: Looks) -> list[Line2D]:
    look: dict[str, Any] = {"linestyle": "", "markersize": 5.5}
    return [
        Line2D([], [], color=colour, marker=marker, **look, label=SHOWN.get(name, name))
        for name, (colour, marker) in judges.items()
    ]


def _add_title_legend(figure: Figure, title: str, handles: Sequence[Line2D]) -> None:
    """Add a title, and a legend with as many lines as its entries need."""
    figure.suptitle(title, fontsize=11)
    lines = math.ceil(len(handles) * 1.6 / figure.get_figwidth())
    columns = math.ceil(len(handles) / lines)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns)
