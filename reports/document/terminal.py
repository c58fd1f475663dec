"""Output of a table as aligned text for a terminal."""

from __future__ import annotations

import io
import textwrap

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from reports.document.table import Table, _group_blocks


def format_text(table: Table, width: int = 120) -> str:
    """Return a table as plain text of at most `width` columns, with its notes below.

    The names of a block stand on a line of their own above its rows. Words that do not fit are
    shortened; columns of names give way before columns of numbers.
    """
    blocks = _group_blocks(table)
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
    console = Console(file=io.StringIO(), width=width - 1, color_system=None)
    with console.capture() as captured:
        console.print(grid)
    head, rule, *lines = (f" {line.rstrip()}" for line in captured.get().splitlines())
    out = [table.title, "", head, rule.replace(" ", "─")]
    for names, rows in blocks:
        out += [" · ".join(names)] if names else []
        out += [lines.pop(0) for _ in rows]
    for note in table.notes:
        out += textwrap.wrap(note, width, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(out) + "\n"
