"""Output of a table as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from reports.document.table import Table, group_blocks


def format_markdown(table: Table) -> str:
    """Return the table in GitHub's Markdown; block names appear only in the block's first row."""
    columns = [*table.blocks, *table.columns]
    lines = [f"## {table.title}", "", _join_markdown([_escape_markdown(c.head) for c in columns])]
    lines.append(_join_markdown(["---:" if column.right else ":---" for column in columns]))
    for words, row in group_blocks(table):
        heads = [words] + [[""] * len(words)] * (len(row) - 1)
        for head, cells in zip(heads, row, strict=True):
            lines.append(_join_markdown([_escape_markdown(text) for text in (*head, *cells)]))
    return "\n".join([*lines, *_list_notes(table.notes, _escape_markdown)]) + "\n"


def _join_markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _list_notes(notes: Sequence[str], escape: Callable[[str], str]) -> list[str]:
    return ["", *(f"- {escape(note)}" for note in notes)] if notes else []


def _escape_markdown(text: str) -> str:
    """Return text with Markdown's special characters escaped.

    Underscores inside a word need no escape.
    """
    text = re.sub(r"([\\`*|<]|\](?=\())", r"\\\1", text.replace("\n", " "))
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
