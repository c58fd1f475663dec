"""Rows of a table file: CSV, TSV, JSON Lines or parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
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
    except (OSError, ValueError, pa.ArrowException) as error:  # pandas raises ValueError
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        remedy = "correct the file"
        if isinstance(error, pd.errors.ParserError):
            remedy += "; quote each text that contains the delimiter, a quote or a line break"
        elif isinstance(error, UnicodeDecodeError):
            remedy = "save the file in UTF-8"
        raise UserError(f"{path}: cannot be read ({reason}); {remedy}") from None
    if not rows:
        raise UserError(f"{path}: contains no rows; use another file")
    return rows


def _read_delimited(path: Path, delimiter: str) -> list[Row]:
    """Return the rows of a CSV or TSV file.

    Raises ValueError for two columns of one name, and if a row has more values than the header.
    """
    # With its header, pandas would take the first values for an index if each row has one more
    # value than the header, as with texts that contain the delimiter and are not quoted.
    table = pd.read_csv(
        path, sep=delimiter, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig"
    )
    header, *rows = table.itertuples(index=False, name=None)
    columns = [str(name).strip() for name in header]
    for name in columns:
        if columns.count(name) > 1:
            raise ValueError(f"two columns have the name {name!r}")
    return [dict(zip(columns, row, strict=True)) for row in rows]


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
