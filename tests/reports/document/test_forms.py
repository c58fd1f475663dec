"""Tests of tables as Markdown, CSV, LaTeX and terminal text."""

import csv
import io
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.document import terminal
from reports.document.csv_file import format_csv
from reports.document.latex import format_latex
from reports.document.markdown import format_markdown
from reports.document.table import (
    Table,
    format_fixed,
    format_significant,
    interval_column,
    mean_sd_column,
    number_column,
    p_value_column,
    percent_column,
    text_column,
)
from reports.document.terminal import format_text

ROWS = [
    {"model": "a_b", "method": "full", "x": 91.234, "x_sd": 0.5, "mark": "", "share": None},
    {"model": "a_b", "method": "50 % & more_", "x": 90.0, "x_sd": math.nan, "mark": " †",
     "share": -0.0312},
    {"model": "c", "method": "path/x.py:C|D", "x": math.nan, "x_sd": math.nan, "mark": "",
     "share": 0.5},
]  # fmt: skip
COLUMNS = (
    text_column("Method", "method"),
    mean_sd_column("x (%)", "x", "mark"),
    percent_column("saved", "share"),
)
TABLE = Table(
    "A table {x}_1", COLUMNS, ROWS, (text_column("Model", "model"),), ("100 % of #1 & α",)
)


def test_numbers_are_formatted():
    assert format_fixed(-0.001) == "0.00"
    assert format_fixed(-1.5, 1) == "−1.5"
    assert format_fixed(1.5, 1, sign=True) == "+1.5"
    assert format_fixed(12345.6, 0) == "12,346"
    assert format_fixed(math.inf) == format_fixed(None) == format_fixed("x") == "–"
    assert format_significant(12334.4) == "12,334"
    assert format_significant(0.0123456) == "0.0123"
    assert format_significant(0) == "0"
    assert format_significant(99.96) == "100.0"
    row = {"d": -0.2, "d_low": -0.7, "d_high": 0.3}
    assert interval_column("", "d").text(row) == "−0.20 [−0.70, +0.30]"
    assert interval_column("", "d").text({**row, "d_low": math.nan}) == "−0.20"
    assert number_column("", "d", scale=0.1).text(row) == "−2.00"


def test_markdown_omits_repeated_names_and_escapes_special_characters():
    lines = format_markdown(TABLE).splitlines()
    assert lines[0] == "## A table {x}_1"
    assert lines[2:7] == [
        "| Model | Method | x (%) | saved |",
        "| :--- | :--- | ---: | ---: |",
        "| a_b | full | 91.23 ± 0.50 | – |",
        "|  | 50 % & more\\_ | 90.00 † | −3.1 |",
        "| c | path/x.py:C\\|D | – | 50.0 |",
    ]
    assert lines[-1] == "- 100 % of #1 & α"


def test_csv_contains_unrounded_numbers():
    rows = list(csv.DictReader(io.StringIO(format_csv(TABLE))))
    assert float(rows[0]["x"]) == 91.234
    assert rows[0]["share"] == rows[2]["x"] == ""
    assert rows[1]["method"] == "50 % & more_"


def test_latex_escapes_special_characters():
    text = format_latex(TABLE, "tab:x")
    assert r"50 \% \& more\_" in text
    assert r"path/x.py:C$|$D" in text
    assert r"90.00 $\dagger$" in text
    assert r"$-$3.1" in text
    assert r"\caption{A table \{x\}\_1}" in text
    assert text.count(r"\midrule") == 2
    for line in text.splitlines():
        if line.endswith(r"\\"):
            ampersands = len(re.findall(r"(?<!\\)&", line))
            assert ampersands == (0 if r"\multicolumn{3}" in line else 2)
    assert r"\textit{a\_b}" in text


@settings(deadline=None)
@given(st.text(max_size=40))
def test_latex_of_any_name_has_balanced_braces_and_dollars(words):
    table = Table(words, (text_column("Method", "method"),), [{"method": words}], (), (words,))
    text = re.sub(r"\\[\\{}$&%#_]", "", format_latex(table, "tab:x"))
    assert text.count("{") == text.count("}")
    assert text.count("$") % 2 == 0
    assert not re.search(r"[%#]", text)
    assert "~" not in text


def test_long_latex_table_is_split_into_pages_without_repeating_rows_or_notes():
    sentence = "A sentence that takes more than one line of a paragraph in a table. " * 3
    rows = [{"method": f"row {i}.", "x": sentence} for i in range(40)]
    columns = (text_column("Method", "method"), text_column("Why", "x"))
    text = format_latex(Table("Long", columns, rows, (), ("A note.",)), "tab:x")
    parts = text.split(r"\begin{table*}")[1:]
    assert len(parts) > 3
    assert all(part.count(r"\end{table*}") == part.count(r"\bottomrule") == 1 for part in parts)
    assert all(text.count(f"row {i}.") == 1 for i in range(40))
    assert text.count("A note.") == parts[0].count("A note.") == 1
    assert f"Long (1 of {len(parts)})" in parts[0]
    assert len(set(re.findall(r"\\label{(.*?)}", text))) == len(parts)
    assert format_latex(TABLE, "tab:x").count(r"\begin{table*}") == 1


def test_latex_replaces_characters_that_its_fonts_lack():
    words = "σ ≈ ∞, naïve, Å, ⁻⁴, \u0159 and \u4e2d"
    table = Table("T", (text_column("Method", "method"),), [{"method": words}])
    line = next(x for x in format_latex(table, "tab:x").splitlines() if x.startswith(r"$\sigma$"))
    assert line == r"$\sigma$ $\approx$ $\infty$, naïve, Å, ?4, r and ? \\"


@pytest.mark.parametrize(
    ("p", "shown"),
    [
        (0.0249, "0.0249"),
        (0.0254, "0.0254"),
        (0.02496, "0.02496"),
        (0.025, "0.025"),
        (0.0496, "0.0496"),
        (0.0504, "0.0504"),
        (0.0312, "0.031"),
        (0.0009, "< 0.001"),
        (1.0, "1.000"),
        (math.nan, "–"),
        (None, "–"),
    ],
)
def test_a_p_value_is_not_rounded_onto_a_significance_level(p, shown):
    assert p_value_column("p", "p").text({"p": p}) == shown


def test_nonzero_deviation_is_not_printed_as_zero():
    column = mean_sd_column("time", "x", digits=None)
    assert column.text({"x": 140.2, "x_sd": 0.3}) == "140.2 ± 0.3"
    assert column.text({"x": 140.2, "x_sd": 3.0}) == "140 ± 3"
    assert column.text({"x": 140.0, "x_sd": 0.0}) == "140 ± 0"
    assert column.text({"x": 140.0, "x_sd": math.nan}) == "140"


def test_terminal_text_fits_its_width(monkeypatch):
    wide = format_text(TABLE)
    monkeypatch.setattr(terminal, "WIDTH", 32)
    lines = format_text(TABLE).splitlines()
    assert max(map(len, lines)) <= 32
    assert any("…" in line for line in lines)
    assert "50 % & more_" in wide
    assert wide.index("\na_b\n") < wide.index("\nc\n")


def test_long_names_that_differ_at_their_end_stay_different_in_a_terminal():
    names = [f"autofreeze with {n} intervals per epoch, M = {n}" for n in (4, 1)]
    columns = [text_column("method", "m"), *(text_column("x" * 30, "v") for _ in range(3))]
    text = format_text(Table("t", columns, [{"m": name, "v": "1"} for name in names]))
    lines = [line for line in text.splitlines() if "autofreeze" in line]
    assert len(set(lines)) == 2


@pytest.mark.parametrize("write", [format_markdown, format_csv, format_text])
def test_table_without_rows_can_be_written(write):
    assert write(Table("Empty", COLUMNS, [])) is not None
