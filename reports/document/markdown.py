"""A table as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from reports.document.table import Table, _group_blocks


def format_markdown(table: Table) -> str:
    """GitHub's Markdown; a name that repeats the line above is left out."""
    columns = [*table.blocks, *table.columns]
    lines = [f"## {table.title}", "", _join_markdown([_escape_markdown(c.head) for c in columns])]
    lines.append(_join_markdown(["---:" if column.right else ":---" for column in columns]))
    for words, row in _group_blocks(table):
        heads = [words] + [[""] * len(words)] * (len(row) - 1)
        for head, cells in zip(heads, row, strict=True):
            lines.append(_join_markdown([_escape_markdown(text) for text in (*head, *cells)]))
    return "\n".join([*lines, *_list_notes(table.notes, _escape_markdown)]) + "\n"


def _join_markdown(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _list_notes(notes: Sequence[str], escape: Callable[[str], str]) -> list[str]:
    return ["", *(f"- {escape(note)}" for note in notes)] if notes else []


def _escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is; an underscore inside a word needs no help."""
    text = re.sub(r"([\\`*|<]|\](?=\())", r"\\\1", text.replace("\n", " "))
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
