"""Table for the page: formatted cells with sort keys, and a link to the runs of each row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reports.document.table import Column, Row, Table
from reports.page.dot_plots import Strip
from reports.page.run_details import DetailsByRow

PRINTED = "Paper: "  # prefix of the headings of columns with the paper's numbers
VERDICTS = {  # text of a verdict or of a claim's outcome: CSS class of its colour
    "non-inferior": "good",
    "inferior": "bad",
    "inconclusive": "open",
    "worse, margin open": "open",
    "holds": "good",
    "does not hold": "bad",
    "undecided": "open",
}


@dataclass(frozen=True)
class Head:
    """Heading of a column."""

    text: str
    right: bool  # aligned to the right
    printed: bool  # contains the paper's numbers
    block: bool  # names the block; shown only in a sorted table, which has no block lines
    pinned: bool  # stays visible when a wide table is scrolled


@dataclass(frozen=True)
class HtmlCell:
    """Cell of a table: text, sort key, colour and dot plot.

    order: the sort key. Cells with '' are sorted last.
    """

    text: str
    order: str
    head: Head
    verdict: str = ""
    strip: Strip | None = None


@dataclass(frozen=True)
class HtmlRow:
    """Row of a table.

    anchor: HTML id of the list of the row's runs; '' if the row does not belong to exactly one
    cell.
    block: title of the block that begins with this row; '' inside a block.
    scope: model, data set and method of the row. The page filters rows by these values. Pooled rows
    lack a model and a data set.
    """

    words: Sequence[HtmlCell]
    anchor: str
    block: str
    scope: Mapping[str, str]


@dataclass(frozen=True)
class HtmlTable:
    """Table of the page.

    with_runs: whether any row links to its runs.
    """

    anchor: str
    title: str
    heads: Sequence[Head]
    lines: Sequence[HtmlRow]
    notes: Sequence[str]
    with_runs: bool


def build_html_table(table: Table, anchor: str, details: DetailsByRow) -> HtmlTable:
    """Return a table of a report, formatted for the page."""
    columns = [*table.blocks, *table.columns]
    heads = [_build_head(column, place, len(table.blocks)) for place, column in enumerate(columns)]
    lines: list[HtmlRow] = []
    before = ""
    for row in table.rows:
        words = [_build_cell(c, row, h, details) for c, h in zip(columns, heads, strict=True)]
        block = " · ".join(word.text for word in words if word.head.block)
        new = block if block != before else ""
        lines.append(HtmlRow(words, details.find_anchor(row), new, details.find_scope(row)))
        before = block
    return HtmlTable(
        anchor, table.title, heads, lines, table.notes, any(line.anchor for line in lines)
    )


def _build_head(column: Column, place: int, blocks: int) -> Head:
    return Head(
        column.head.removeprefix(PRINTED),
        column.right,
        column.head.startswith(PRINTED),
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
        details.build_strip(row, column.key),
    )


def _get_sort_key(column: Column, row: Row, text: str) -> str:
    """Return the sort key of a cell: its unrounded number or its text; '' if unknown."""
    value = row.get(column.key, text) if column.key else text
    if isinstance(value, int | float):
        return repr(float(value)) if math.isfinite(value) else ""
    return str(value) if value else ""
