"""Output of a table's unrounded numbers as CSV."""

from __future__ import annotations

import csv
import io
import math

from reports.document.table import Table


def format_csv(table: Table) -> str:
    """Return the rows as CSV with unrounded numbers. Missing values are empty."""
    out = io.StringIO()
    keys = list(table.rows[0]) if table.rows else []
    writer = csv.DictWriter(out, keys, lineterminator="\n")
    writer.writeheader()
    for row in table.rows:
        writer.writerow({key: _blank_missing(row[key]) for key in keys})
    return out.getvalue()


def _blank_missing(value: object) -> object:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value
