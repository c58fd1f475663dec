"""Data classes of a report: its tables, its drawings and the frame of its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from reports.document.table import Table


@dataclass(frozen=True)
class Drawing:
    """Figure that is drawn on demand.

    name: stem of its files (name.svg, name.png).
    note: caption that explains the figure.
    draw: function that draws it, called inside reports.figures.style.apply_style().
    """

    name: str
    title: str
    note: str
    draw: Callable[[], Figure] = field(repr=False, compare=False)


ACCURACY = "Accuracy (%)"


@dataclass(frozen=True)
class Report:
    """Report of one table or sweep.

    name: prefix of the report's files.
    parts: tables of the Markdown, LaTeX and HTML output, in order.
    compact: tables for a terminal.
    numbers: tables whose unrounded rows are written as CSV, by the file's stem.
    frame: one row per run (see reports.runs.run_table).
    files: the written files, the terminal text first.
    score: column heading for the scores of the runs.
    """

    name: str
    title: str
    parts: tuple[Table, ...]
    drawings: tuple[Drawing, ...]
    frame: pd.DataFrame
    files: list[Path] = field(default_factory=list)
    compact: tuple[Table, ...] = ()
    numbers: Mapping[str, Table] = field(default_factory=dict)
    score: str = ACCURACY


def clean_file_name(name: str) -> str:
    """Return a name in which every character other than a letter or digit is an underscore."""
    return "".join(sign if sign.isalnum() else "_" for sign in name)
