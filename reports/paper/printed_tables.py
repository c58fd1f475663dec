"""Reader of the paper's tables, with the numbers as printed, in the units of their columns."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib import resources

Entry = Mapping[str, str | float]


@cache
def read_entries(table: int | None) -> tuple[Entry, ...]:
    """Return the rows of one of the paper's tables: numbers as floats, names as text.

    table: number of the table, 1 to 9. None gives no rows.
    """
    if table is None:
        return ()
    text = resources.files("reports.paper").joinpath(f"table{table}.csv").read_text()
    return tuple(
        {key: _parse_value(value) for key, value in row.items()}
        for row in csv.DictReader(text.splitlines())
    )


def find_entry(table: int | None, **names: str | float) -> Entry:
    """Return the row with these names, e.g. model="vgg11"; empty unless exactly one row matches."""
    found = [row for row in read_entries(table) if names.items() <= row.items()]
    return found[0] if len(found) == 1 else {}


def get_number(row: Entry, key: str) -> float | None:
    """Return a number of a row, or None if the paper prints no number."""
    value = row.get(key)
    return value if isinstance(value, float) else None


def _parse_value(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
