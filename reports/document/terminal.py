"""A table as aligned text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from reports.document.table import Column, Table, _group_blocks


def format_text(table: Table, width: int = 120) -> str:
    """Plain text; a block's names stand on a line of their own, long words are cut to the width."""
    heads = [column.head for column in table.columns]
    blocks = _group_blocks(table)
    lines = [heads, *(line for _, rows in blocks for line in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    while sum(widths) + 2 * len(widths) - 1 > width and max(widths) > 8:
        widest = max(range(len(widths)), key=lambda i: (not table.columns[i].right, widths[i]))
        if widths[widest] <= 8:
            break
        widths[widest] -= 1
    out = [table.title, "", _align_words(heads, widths, table.columns).rstrip()]
    out.append("─" * min(width, sum(widths) + 2 * len(widths) - 1))
    for words, rows in blocks:
        out += [" · ".join(words)] if words else []
        out += [_align_words(line, widths, table.columns).rstrip() for line in rows]
    for note in table.notes:
        out += textwrap.wrap(note, width, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(out) + "\n"


def _align_words(words: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    cut = [w if len(w) <= n else w[: n - 1] + "…" for w, n in zip(words, widths, strict=True)]
    return " " + "  ".join(
        word.rjust(n) if column.right else word.ljust(n)
        for word, n, column in zip(cut, widths, columns, strict=True)
    )
