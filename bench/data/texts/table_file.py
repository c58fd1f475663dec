"""Rows of a table file: CSV, TSV, JSON Lines or parquet."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import UserError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
LINES = (".jsonl", ".ndjson")
SUFFIXES = (*DELIMITERS, *LINES, ".parquet")

Row = Mapping[str, Any]


def read_table(path: Path) -> list[Row]:
    """Return the rows of a table file, each as values by column.

    Values of a CSV or TSV file are strings, also "NA" and "". Raises UserError if the file cannot
    be read, is empty, or has an unknown suffix.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(
            f"{path}: has the suffix {suffix or '(none)'!r}; use a file that ends in "
            f"{', '.join(SUFFIXES)}"
        )
    try:
        if suffix in DELIMITERS:
            rows = _read_delimited(path, DELIMITERS[suffix])
        elif suffix in LINES:
            rows = _read_lines(path)
        else:
            rows = pq.read_table(path).to_pylist()
    except (OSError, ValueError, RecursionError, csv.Error, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        remedy = "correct the file"
        if isinstance(error, csv.Error):
            remedy += (
                "; quote each text that contains the delimiter, a quote or a line break, and write "
                "its own quotes twice"
            )
        elif isinstance(error, UnicodeDecodeError):
            remedy = "save the file in UTF-8"
        raise UserError(f"{path}: cannot be read ({reason}); {remedy}") from None
    if not rows:
        raise UserError(f"{path}: contains no rows; use another file")
    return rows


def _read_delimited(path: Path, delimiter: str) -> list[Row]:
    """Return the rows of a CSV or TSV file.

    Raises ValueError for two columns of one name. Raises csv.Error for a quote that the format does
    not allow, and if a row has not as many values as the header.
    """
    csv.field_size_limit(sys.maxsize)  # a text may be long
    with path.open(encoding="utf-8-sig", newline="") as file:
        # pandas is not strict: a text that begins with a stray quote swallows the rows after it.
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            lines = [(reader.line_num, row) for row in reader if row]  # without empty lines
        except csv.Error as error:
            raise csv.Error(f"line {reader.line_num}: {error}") from None
    columns = [name.strip() for name in lines[0][1]] if lines else []
    for name in columns:
        if columns.count(name) > 1:
            raise ValueError(f"two columns have the name {name!r}")
    for line, row in lines:
        if len(row) != len(columns):
            raise csv.Error(f"expected {len(columns)} values in line {line}, saw {len(row)}")
    return [dict(zip(columns, row, strict=True)) for _, row in lines[1:]]


def _read_lines(path: Path) -> list[Row]:
    """Return the objects of a JSON Lines file. Raises ValueError that names an invalid line."""
    rows: list[Row] = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not a JSON object")
        rows.append(row)
    return rows
