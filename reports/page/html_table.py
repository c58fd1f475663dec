"""A table as a page shows it: words, what they are sorted by, and the runs behind each row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reports.document.table import Column, Row, Table
from reports.page.dot_plots import Strip
from reports.page.run_details import DetailsByRow

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
    block: bool  # shown only where lines are sorted; else a line above each block says it
    pinned: bool  # stays in sight when a wide table is scrolled


@dataclass(frozen=True)
class HtmlCell:
    """One cell: its text, its place in the order of its column ('' is last), its looks."""

    text: str
    order: str
    head: Head
    verdict: str = ""
    strip: Strip | None = None


@dataclass(frozen=True)
class HtmlRow:
    """One row; `anchor` is where its runs are listed, '' if it is not made of one cell."""

    words: Sequence[HtmlCell]
    anchor: str
    block: str  # the names of the block that begins here, '' inside one


@dataclass(frozen=True)
class HtmlTable:
    """A table."""

    anchor: str
    title: str
    heads: Sequence[Head]
    lines: Sequence[HtmlRow]
    notes: Sequence[str]
    with_runs: bool


def build_html_table(table: Table, anchor: str, details: DetailsByRow) -> HtmlTable:
    """Put a table of a report into words."""
    columns = [*table.blocks, *table.columns]
    heads = [_build_head(column, place, len(table.blocks)) for place, column in enumerate(columns)]
    lines: list[HtmlRow] = []
    before = ""
    for row in table.rows:
        words = [_build_cell(c, row, h, details) for c, h in zip(columns, heads, strict=True)]
        block = " · ".join(word.text for word in words if word.head.block)
        lines.append(HtmlRow(words, details.anchor(row), block if block != before else ""))
        before = block
    return HtmlTable(
        anchor, table.title, heads, lines, table.notes, any(line.anchor for line in lines)
    )


def _build_head(column: Column, place: int, blocks: int) -> Head:
    return Head(
        column.head.removeprefix(PAPER),
        column.right,
        column.head.startswith(PAPER),
        block=place < blocks,
        pinned=place == blocks,
    )


def _build_cell(column: Column, row: Row, head: Head, details: DetailsByRow) -> HtmlCell:
    text = column.text(row)
    return HtmlCell(
        text,
        _get_sort_key(column, row, text),
        head,
        VERDICTS.get(text, "") if column.key == "verdict" else "",
        details.strip(row, column.key),
    )


def _get_sort_key(column: Column, row: Row, text: str) -> str:
    """What a cell is sorted by: its unrounded number, or its words; '' where nothing is known."""
    value = row.get(column.key, text) if column.key else text
    if isinstance(value, int | float):
        return repr(float(value)) if math.isfinite(value) else ""
    return str(value) if value else ""
