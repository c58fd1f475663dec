"""Figure of memory during training: one panel per model, one line per strategy."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from reports.document.profile import Profile
from reports.document.table import MEBI
from reports.figures.style import INK, Looks, add_legend_below, choose_looks

MEASURES = {  # column: label of its row of panels, which exists if any run has a value
    "memory_bytes": "saved + state (MiB)",
    "cuda_allocated": "CUDA allocated (MiB)",
}


def draw_memory_curves(epochs: pd.DataFrame, profile: Profile, title: str) -> Figure:
    """Draw the runs of one data set (see reports.runs.epochs): thin lines per seed, thick means.

    A mean covers the epochs that all seeds have, because matched runs may differ in length.
    """
    models = list(dict.fromkeys(epochs.model))
    methods = choose_looks(epochs.method)
    rows = [key for key in MEASURES if epochs[key].notna().any()] or ["memory_bytes"]
    figure = Figure(
        figsize=(2.6 * max(1, len(models)) + 0.4, 2.1 * len(rows) + 0.9), layout="constrained"
    )
    grid = figure.subplots(len(rows), max(1, len(models)), squeeze=False)
    for i, key in enumerate(rows):
        for axes, model in zip(grid[i], models, strict=False):
            _draw_panel(axes, epochs[epochs.model == model], key, methods)
            if i == 0:
                axes.set_title(profile.format_name(model))
            if i == len(rows) - 1:
                axes.set_xlabel("epoch")
        grid[i][0].set_ylabel(MEASURES[key])
    figure.suptitle(f"{title} · {profile.name} profile", fontsize=11)
    add_legend_below(figure, _build_legend(methods))
    return figure


def _draw_panel(axes: Axes, here: pd.DataFrame, key: str, methods: Looks) -> None:
    for method, (colour, marker) in methods.items():
        runs = here[here.method == method]
        for _, run in runs.groupby("seed"):
            axes.plot(run.epoch, run[key] / MEBI, color=colour, linewidth=0.6, alpha=0.35)
        # Average the epochs that all seeds have, because matched runs may differ in length.
        counts = runs.groupby("epoch")[key].count()
        whole = counts.index[counts == runs.seed.nunique()]
        mean = runs.groupby("epoch")[key].mean().loc[whole] / MEBI
        axes.plot(mean.index, mean, color=colour, marker=marker, markersize=3, linewidth=1.4)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _build_legend(methods: Looks) -> list[Line2D]:
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4, linewidth=1.4, label=name)
        for name, (colour, marker) in methods.items()
    ]
    return [*handles, Line2D([], [], color=INK, linewidth=0.6, alpha=0.5, label="one seed")]
