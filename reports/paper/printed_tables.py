"""Reads the paper's tables; each number is as printed there, in the units of its column."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources

Entry = Mapping[str, str | float]


@cache
def read_entries(table: int | None) -> tuple[Entry, ...]:
    """The rows of the paper's table 1 to 9, numbers as floats and names as text; none of None."""
    if table is None:
        return ()
    text = resources.files("reports.paper").joinpath(f"table{table}.csv").read_text()
    return tuple(
        {key: _parse_value(value) for key, value in row.items()}
        for row in csv.DictReader(text.splitlines())
    )


def find_entry(table: int | None, **names: str | float) -> Entry:
    """The one row of a table with these names, e.g. model="vgg11"; empty if it has none."""
    found = [row for row in read_entries(table) if names.items() <= row.items()]
    return found[0] if len(found) == 1 else {}


def get_number(row: Entry, key: str) -> float | None:
    """A number of a row, or None where the paper gives none."""
    value = row.get(key)
    return value if isinstance(value, float) else None


def _parse_value(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
