"""A table as a page shows it: words, what they are sorted by, and the runs behind each row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.page.dossier import Dossiers
from reports.page.strips import Strip
from reports.table import Column, Row, Table

PAPER = "Paper: "  # how the heads of the paper's own numbers begin
VERDICTS = {  # a verdict's words, and how they are coloured
    "non-inferior": "good",
    "inferior": "bad",
    "inconclusive": "open",
    "holds": "good",
    "does not hold": "bad",
    "cannot be told": "open",
}


@dataclass(frozen=True)
class Head:
    """The head of a column."""

    text: str
    right: bool
    paper: bool


@dataclass(frozen=True)
class Word:
    """One cell: its text, its place in the order of its column ('' is last), its looks."""

    text: str
    order: str
    right: bool
    paper: bool
    again: bool = False  # repeats the line above, and is shown only where lines are sorted
    verdict: str = ""
    strip: Strip | None = None


@dataclass(frozen=True)
class Line:
    """One row; `anchor` is where its runs are listed, '' if it is not made of one cell."""

    words: Sequence[Word]
    anchor: str
    first: bool  # of its block


@dataclass(frozen=True)
class Grid:
    """A table."""

    anchor: str
    title: str
    heads: Sequence[Head]
    lines: Sequence[Line]
    notes: Sequence[str]
    with_runs: bool


def grid(table: Table, anchor: str, dossiers: Dossiers) -> Grid:
    """Put a table of a report into words."""
    columns = [*table.blocks, *table.columns]
    lines: list[Line] = []
    before: list[str] = []
    for row in table.rows:
        block = [column.text(row) for column in table.blocks]
        again = block == before
        words = [_word(c, row, dossiers, again and c in table.blocks) for c in columns]
        lines.append(Line(words, dossiers.anchor(row), not again))
        before = block
    heads = [Head(c.head.removeprefix(PAPER), c.right, c.head.startswith(PAPER)) for c in columns]
    return Grid(anchor, table.title, heads, lines, table.notes, any(line.anchor for line in lines))


def _word(column: Column, row: Row, dossiers: Dossiers, again: bool) -> Word:
    text = column.text(row)
    return Word(
        text,
        _order(column, row, text),
        column.right,
        column.head.startswith(PAPER),
        again,
        VERDICTS.get(text, "") if column.key == "verdict" else "",
        dossiers.strip(row, column.key),
    )


def _order(column: Column, row: Row, text: str) -> str:
    """What a cell is sorted by: its unrounded number, or its words; '' where nothing is known."""
    value = row.get(column.key, text) if column.key else text
    if isinstance(value, int | float):
        return repr(float(value)) if math.isfinite(value) else ""
    return str(value) if value else ""
