"""A report as a value: the tables, drawings and runs of one table or sweep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from reports.document.table import Table


@dataclass(frozen=True)
class Drawing:
    """A figure that is drawn when asked for.

    name: stem of its files (name.svg, name.png). note: what it shows, for a caption.
    draw: makes it; called inside reports.figures.style.apply_style().
    """

    name: str
    title: str
    note: str
    draw: Callable[[], Figure] = field(repr=False, compare=False)


ACCURACY = "Accuracy (%)"


@dataclass(frozen=True)
class Report:
    """All that is told of one table.

    name: its files begin with it. parts: what a document shows, in order. compact: what a
    terminal shows. numbers: tables whose unrounded rows are kept as CSV, by the file's stem.
    frame: its runs (see reports.runs.run_table). files: the files written, the terminal text first.
    score: what the runs' accuracy is, as a heading.
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
    """A name that may stand in a file name."""
    return "".join(sign if sign.isalnum() else "_" for sign in name)
