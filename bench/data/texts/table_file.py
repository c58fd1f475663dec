"""Rows of a table file: CSV, TSV, JSON Lines or parquet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
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
    except (OSError, ValueError) as error:  # pandas and pyarrow raise subclasses of ValueError
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UserError(f"{path}: cannot be read ({reason}); correct the file") from None
    if not rows:
        raise UserError(f"{path}: contains no rows; use another file")
    return rows


def _read_delimited(path: Path, delimiter: str) -> list[Row]:
    table = pd.read_csv(path, sep=delimiter, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    columns = [str(name) for name in table.columns]
    return [dict(zip(columns, row, strict=True)) for row in table.itertuples(index=False)]


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
