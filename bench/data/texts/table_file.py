"""Rows of a table file: CSV, TSV, JSON Lines or parquet."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.errors import UserError, summarise_error
from bench.files import get_utf8_path

DELIMITERS = {".csv": ",", ".tsv": "\t"}
SIGNS = (";", "\t", "|", ",")  # delimiters of other programs
LINES = (".jsonl", ".ndjson")
SUFFIXES = (*DELIMITERS, *LINES, ".parquet")

POINTER = b"version https://git-lfs"
UNREADABLE = (OSError, ValueError, RecursionError, OverflowError)  # pyarrow: dates out of range

Row = Mapping[str, Any]
Record = tuple[list[str], int, list[str]]  # lines of a row, number of its last line, values


def read_table(path: Path, may_be_empty: bool = False) -> list[Row]:
    """Return the rows of a table file, each as values by column.

    Values of a CSV or TSV file are strings, also "NA" and "". Raises UserError if the file cannot
    be read or has an unknown suffix, and for a file without rows unless it may be empty.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        found = f"the suffix {suffix!r}" if suffix else "no suffix"
        raise UserError(f"{path}: has {found}; use a file that ends in {', '.join(SUFFIXES)}")
    try:
        _refuse_pointer(path)
        if suffix in DELIMITERS:
            rows = _read_delimited(path, DELIMITERS[suffix])
        elif suffix in LINES:
            rows = _read_lines(path)
        else:
            with get_utf8_path(path) as place:
                rows = pq.read_table(place).to_pylist()
    except (*UNREADABLE, csv.Error, pa.ArrowException) as error:
        reason = summarise_error(error)
        remedy = "correct the file"
        if isinstance(error, csv.Error):
            remedy += (
                "; quote each text that contains the delimiter, a quote or a line break, and write "
                "its own quotes twice"
            )
        elif isinstance(error, UnicodeDecodeError):
            remedy = "save the file in UTF-8"
        raise UserError(f"{path}: cannot be read ({reason}); {remedy}") from None
    if not rows and not may_be_empty:
        raise UserError(f"{path}: contains no rows; use another file")
    return rows


def _refuse_pointer(path: Path) -> None:
    """Raise UserError for the pointer that `git clone` leaves in place of a file of Git LFS."""
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise UserError(
                f"{path}: is a pointer of Git LFS, not the file itself; install git-lfs and run "
                "`git lfs pull` in its folder"
            )


def _read_delimited(path: Path, delimiter: str) -> list[Row]:
    """Return the rows of a CSV or TSV file.

    Raises ValueError for two columns of one name, and UserError for a header with another
    delimiter. Raises csv.Error for a quote that the format does not allow, and for a quote that
    joins rows. Raises csv.Error if a row and the header differ in their number of values.
    """
    csv.field_size_limit(sys.maxsize)  # a text may be long
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(file)
    # pandas is not strict: a text that begins with a stray quote swallows the rows after it.
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    ends, rows = [0], []
    try:
        for row in reader:
            ends.append(reader.line_num)
            rows.append(row)
    except csv.Error as error:
        raise csv.Error(f"line {reader.line_num}: {error}") from None
    records = [
        (lines[start:end], end, row)
        for start, end, row in zip(ends, ends[1:], rows, strict=False)
        if row  # without empty lines
    ]
    columns = [name.strip() for name in records[0][2]] if records else []
    _check_header(columns, delimiter, path)
    for _, end, row in records:
        if len(row) != len(columns):
            raise csv.Error(f"expected {len(columns)} values in line {end}, saw {len(row)}")
    _refuse_joined_rows(records[1:], delimiter)
    return [dict(zip(columns, row, strict=True)) for _, _, row in records[1:]]


def _check_header(columns: Sequence[str], delimiter: str, path: Path) -> None:
    """Raise ValueError if two columns share a name, and UserError if the delimiter is wrong."""
    for name in columns:
        if columns.count(name) > 1:
            raise ValueError(f"two columns have the name {name!r}")
    others = [sign for sign in SIGNS if sign != delimiter and sign in "".join(columns)]
    if len(columns) == 1 and others:
        remedy = f"save the file with {delimiter!r}"
        if others[0] == "\t":
            remedy = "give the file the suffix .tsv"
        raise UserError(
            f"{path}: its header {columns[0][:40]!r} has the delimiter {others[0]!r} instead of "
            f"{delimiter!r}; {remedy}"
        )


def _refuse_joined_rows(records: Sequence[Record], delimiter: str) -> None:
    """Raise csv.Error if a text that begins with a quote has swallowed the rows after it.

    A row of several lines is such a case if two conditions hold. Split at the delimiter, each line
    has as many values as the row. In one column, for example the labels, all values of these lines
    also occur in rows of a single line.
    """
    for lines, end, row in records:
        if len(lines) == 1:
            continue
        alone = [line.rstrip("\r\n").split(delimiter) for line in lines if line.strip()]
        if len(alone) == 1 or any(len(values) != len(row) for values in alone):
            continue
        for column in range(len(row)):
            known = {other[column] for part, _, other in records if len(part) == 1}
            if {values[column] for values in alone} <= known:
                first = end - len(lines) + 1
                raise csv.Error(
                    f"a quote that opens in line {first} makes one row of lines {first} to {end}"
                )


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
