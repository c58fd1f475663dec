"""Columns of differences in points, whose ends show on which side of a threshold they are."""

from __future__ import annotations

from collections.abc import Callable

from reports.document.table import Column, Row, format_fixed, is_known, to_number
from reports.statistics import MARGIN

THRESHOLDS = (-MARGIN, 0.0)  # verdicts and outcomes compare the unrounded ends with these
DIGITS, MOST_DIGITS = 2, 4


def difference_column(head: str, key: str, mark: Callable[[Row], str] = lambda row: "") -> Column:
    """Return a column "mean [low, high]" from `key`, `key`_low and `key`_high, in points.

    mark: function that formats a mark after the text from the row.
    """

    def text(row: Row) -> str:
        values = (to_number(row[name]) for name in (key, f"{key}_low", f"{key}_high"))
        return format_difference(*values) + mark(row)

    return Column(head, text, key=key)


def format_difference(mean: float, low: float, high: float) -> str:
    """Return a difference as "mean [low, high]", or without the ends if they are unknown."""
    words = format_fixed(mean, DIGITS, sign=True)
    return f"{words} {format_ends(low, high)}" if is_known(mean) and is_known(low) else words


def format_ends(low: float, high: float) -> str:
    """Return the ends of an interval of differences as "[low, high]"."""
    return f"[{_format_end(low, 1)}, {_format_end(high, -1)}]"


def _format_end(value: float, side: int) -> str:
    """Return an end of an interval, with more digits if rounding hides which side it is on.

    side: 1 if the end decides by being above a threshold (lower end), -1 if by being below.
    """
    digits = DIGITS
    passed = [threshold for threshold in THRESHOLDS if side * (value - threshold) > 0]
    while digits < MOST_DIGITS and round(value, digits) in passed:
        digits += 1
    return format_fixed(value, digits, sign=True)
