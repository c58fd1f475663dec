"""Output of a table as aligned text for a terminal."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from reports.document.table import Table, group_blocks

WIDTH = 120  # characters of a line
NAME_WIDTHS = (30, 24, 18, 12)  # characters of a name in a table; the first that fits is used


def format_text(table: Table) -> str:
    """Return a table as plain text for a terminal of WIDTH characters, with its notes below.

    Adjacent rows with the same model and data set form a group. A line above the group shows these
    names. Texts that do not fit are shortened. Names are shortened before numbers.
    """
    blocks = group_blocks(table)
    for limit in NAME_WIDTHS:
        if _measure_width(table, blocks) > WIDTH:
            blocks = [
                (names, [_shorten_names(table, cells, limit) for cells in rows])
                for names, rows in blocks
            ]
    grid = Grid(box=box.HORIZONTALS, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in table.columns:
        grid.add_column(
            Text(column.head, no_wrap=True, overflow="ellipsis"),
            justify="right" if column.right else "left",
            no_wrap=column.right,
            overflow="ellipsis",
        )
    for _, rows in blocks:
        for cells in rows:
            grid.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells))
    console = Console(file=io.StringIO(), width=WIDTH - 1, color_system=None)
    with console.capture() as captured:
        console.print(grid)
    head, rule, *lines = (f" {line.rstrip()}" for line in captured.get().splitlines())
    out = [table.title, "", head, rule.replace(" ", "─")]
    for names, rows in blocks:
        out += [" · ".join(names)] if names else []
        out += [lines.pop(0) for _ in rows]
    for note in table.notes:
        out += textwrap.wrap(note, WIDTH, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(out) + "\n"


def shorten_middle(text: str, width: int) -> str:
    """Return a text of at most `width` characters. The middle of a longer text is left out.

    Names that differ only at their end therefore stay different.
    """
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


def _measure_width(table: Table, blocks: Sequence[tuple[list[str], list[list[str]]]]) -> int:
    """Return the width of the widest line without any shortening, in characters."""
    lines = [[column.head for column in table.columns], *(c for _, rows in blocks for c in rows)]
    return sum(1 + max(map(len, column)) for column in zip(*lines, strict=True))


def _shorten_names(table: Table, cells: Sequence[str], limit: int) -> list[str]:
    """Return the cells of a row, with names shortened to at most `limit` characters."""
    return [
        cell if column.right else shorten_middle(" ".join(cell.split()), limit)
        for column, cell in zip(table.columns, cells, strict=True)
    ]
