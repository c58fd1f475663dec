"""Vertical axis with a break: values below the break are drawn at a smaller scale.

Outliers then take little space.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator
from numpy.typing import NDArray

NEAR = 4.0  # cells keep the full scale if their mean is within this many points of the best mean
SHARE = 0.22  # share of the panel's height below the knee
LEAST = 3.0  # smallest compression for which the axis is broken


def squeeze_below(axes: Axes, cells: Sequence[Sequence[float]]) -> None:
    """Set the y limits and ticks, and compress the lower part if cells are far below the best cell.

    cells: the values of each cell. A dotted line marks where the compressed part begins, with its
    scale.
    """
    if not cells:
        return
    best = max(float(np.mean(values)) for values in cells)
    near = [v for values in cells if np.mean(values) > best - NEAR for v in values]
    # A cell that overlaps the near ones also keeps the full scale, unless its range is too large.
    reach = min(near)
    near += [
        v for values in cells if max(values) > reach and np.ptp(values) < 2 * NEAR for v in values
    ]
    everything = [v for values in cells for v in values]
    low, high, lowest = min(near), max(everything), min(everything)
    room = 0.12 * max(high - low, 0.5)
    knee = low - room
    factor = (knee - lowest) / ((high + room - knee) * SHARE / (1 - SHARE))
    if factor < LEAST:
        axes.set_ylim(min(knee, lowest - room), high + room)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        return

    def forward(y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(y >= knee, y, knee + (y - knee) / factor)

    def inverse(y: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(y >= knee, y, knee + (y - knee) * factor)

    axes.set_yscale("function", functions=(forward, inverse))
    axes.set_ylim(lowest - 0.35 * (knee - lowest), high + room)
    apart = 0.07 * (high + room - knee)  # ticks nearer to the knee would overlap their neighbours
    upper = MaxNLocator(4).tick_values(knee, high)
    lower = MaxNLocator(2).tick_values(lowest, knee)
    ticks = [tick for tick in upper if knee + apart < tick < high + room]
    ticks += [tick for tick in lower if tick < knee - apart * factor]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}".replace("-", "−")))
    axes.axhline(knee, color="#999999", linewidth=0.7, linestyle=":", zorder=1)
    axes.annotate(
        f"below: compressed {factor:.0f}-fold", (1, knee), xycoords=("axes fraction", "data"),
        xytext=(0, -2), textcoords="offset points", fontsize=6, color="#777777", ha="right",
        va="top",
    )  # fmt: skip
