"""Output of a table as LaTeX (packages booktabs and graphicx)."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from reports.document.table import Column, Row, Table, group_blocks

SENTENCE = 50  # columns with longer texts (in characters) are set as paragraphs
NO_WIDER = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}"
PAGE = 50  # lines of a table per page
PARAGRAPH = 24  # characters per line in a column of width PARAGRAPH_WIDE
NOTE = 130  # characters per line of a note
PARAGRAPH_WIDE = r"0.18\textwidth"
HEADING = 12  # characters per line of a heading
# Characters that are special in LaTeX or missing in its text mode.
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"$<$", ">": r"$>$", "|": r"$|$", "±": r"$\pm$", "−": r"$-$", "–": "--", "—": "---",
    "×": r"$\times$", "÷": r"$\div$", "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\rightarrow$",
    "·": r"$\cdot$", "†": r"$\dagger$", "‡": r"$\ddagger$", "§": r"\S{}", "…": r"\ldots{}",
    "[": "{[}", "]": "{]}", "¶": r"\P{}", "τ": r"$\tau$", "ε": r"$\varepsilon$",
    "α": r"$\alpha$", "λ": r"$\lambda$", "σ": r"$\sigma$", "≈": r"$\approx$", "∞": r"$\infty$",
    "“": "``", "”": "''",
}  # fmt: skip


def format_latex(table: Table, label: str) -> str:
    """Return one `table*` environment per page, no wider than the page.

    Rows of the same model and data set follow a line with the names of both. The notes stand in
    small print below the rows of the first page.
    """
    pages = _split_pages(table)
    parts = []
    for number, rows in enumerate(pages, 1):
        title = f"{table.title} ({number} of {len(pages)})" if len(pages) > 1 else table.title
        part = replace(table, title=title, rows=rows, notes=table.notes if number == 1 else [])
        parts.append(_format_latex_page(part, label if number == 1 else f"{label}:{number}"))
    return "\n".join(parts)


def _split_pages(table: Table) -> list[list[Row]]:
    """Return the rows of each page, by estimating the lines of rows, block names and notes."""
    pages: list[list[Row]] = [[]]
    used, block = sum(1 + len(note) // NOTE for note in table.notes), None
    sentences = [column for column in table.columns if "p{" in _choose_alignment(column, table)]
    for row in table.rows:
        words = [column.text(row) for column in table.blocks]
        lines = 1 + max((len(c.text(row)) // PARAGRAPH for c in sentences), default=0)
        lines += words != block
        block = words
        if pages[-1] and used + lines > PAGE:
            pages.append([])
            used = 0
        pages[-1].append(row)
        used += lines
    return pages


def _format_latex_page(table: Table, label: str) -> str:
    layout = "".join(_choose_alignment(column, table) for column in table.columns)
    lines = [
        r"\begin{table*}",
        r"\centering\footnotesize\setlength{\tabcolsep}{4pt}",
        rf"\caption{{{_escape_latex(table.title)}}}",
        rf"\label{{{label}}}",
        rf"{NO_WIDER}{{\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        _join_latex([_format_latex_head(column) for column in table.columns]),
    ]
    for words, rows in group_blocks(table):
        lines.append(r"\midrule")
        if words:
            names = _escape_latex(" · ".join(words))
            lines.append(rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\textit{{{names}}}}} \\")
        lines += [_join_latex([_escape_latex(text) for text in cells]) for cells in rows]
    lines += [r"\bottomrule", r"\end{tabular}}"]
    if table.notes:
        notes = r"\\ ".join(_escape_latex(note) for note in table.notes)
        lines += ["", r"\smallskip", rf"\begin{{minipage}}{{\textwidth}}\scriptsize {notes}"]
        lines.append(r"\end{minipage}")
    return "\n".join([*lines, r"\end{table*}"]) + "\n"


def _join_latex(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _choose_alignment(column: Column, table: Table) -> str:
    """Return a column's LaTeX alignment: "r", "l", or "p{…}" if it contains sentences."""
    if column.right:
        return "r"
    longest = max((len(column.text(row)) for row in table.rows), default=0)
    return rf"p{{{PARAGRAPH_WIDE}}}" if longest > SENTENCE else "l"


def _format_latex_head(column: Column) -> str:
    """Return a heading, wrapped into lines of at most HEADING characters."""
    words = column.head.replace(" %", "\u00a0%")  # keep a word and its "%" on one line
    wrapped = textwrap.wrap(words, HEADING, break_long_words=False)
    lines = [_escape_latex(line.replace("\u00a0", " ")) for line in wrapped]
    stacked = r"\\".join(lines)
    side = "r" if column.right else "l"
    return rf"\shortstack[{side}]{{{stacked}}}" if len(lines) > 1 else stacked


def _escape_latex(text: str) -> str:
    """Return text with LaTeX's special characters escaped.

    Characters that LaTeX's fonts lack lose their accents or become question marks.
    """

    def sign(character: str) -> str:
        if character in LATEX or ord(character) < 256:
            return LATEX.get(character, character)
        return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"

    return "".join(map(sign, text.replace("\n", " ")))
