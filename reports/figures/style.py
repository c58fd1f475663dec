"""Shared look of the figures: fonts, a colour and a marker per method, and saving of files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.style import context

from bench.files import replace_atomically
from bench.strategy_api.built_in import find_built_in

# Built-in strategies use Okabe and Ito's palette, which colour-blind readers can distinguish.
# Markers differ as well. SPARE has twenty looks for other methods: four colours, five markers.
SPARE = tuple(
    (("#A23B72", "#4B7F52", "#5E4FA2", "#B5651D")[i % 4], "<>d*8"[i % 5]) for i in range(20)
)
INK, FAINT = "#222222", "#B8B8B8"

SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "legend.frameon": False,
    "text.parse_math": False,  # the name of a method may contain $ or \
    "legend.fontsize": 8.5,
    "svg.hashsalt": "freezebench",  # reproducible ids, so that the same results give the same file
    "svg.fonttype": "path",  # independent of installed fonts
}

Looks = dict[str, tuple[str, str]]  # method: colour, marker


@contextmanager
def apply_style() -> Iterator[None]:
    """Apply the shared look inside the context, whatever the user's matplotlibrc contains."""
    with context(["default", SETTINGS]):
        yield


def choose_looks(methods: Iterable[str]) -> Looks:
    """Return colour and marker of each method.

    Built-in strategies declare their look. All other methods get spare looks in order.
    """
    known = {name: facts.look for name, facts in find_built_in().items() if facts.look}
    names = list(dict.fromkeys(methods))
    strangers = [name for name in names if name not in known]
    spare = {name: SPARE[i % len(SPARE)] for i, name in enumerate(strangers)}
    return {name: known.get(name) or spare[name] for name in names}


def add_legend_below(figure: Figure, handles: Sequence[Artist]) -> None:
    """Add a legend below all panels, with as few lines as its width allows."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    for lines in range(1, len(handles) + 1):
        columns = math.ceil(len(handles) / lines)
        legend = figure.legend(handles=handles, loc="outside lower center", ncols=columns)
        if columns == 1 or legend.get_window_extent(renderer).width <= figure.bbox.width:
            break
        legend.remove()


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write stem.svg and stem.png (160 dpi), without a date, and return their paths."""
    FigureCanvasAgg(figure)
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # use this layout for both files
    files = [stem.with_name(stem.name + ending) for ending in (".svg", ".png")]
    with replace_atomically(files[0]) as path:
        figure.savefig(path, format="svg", metadata={"Date": None})
    with replace_atomically(files[1]) as path:
        figure.savefig(path, format="png", dpi=160, metadata={"Software": None})
    return files
