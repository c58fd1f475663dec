"""Columns of differences in points.

The ends of an interval are printed with enough digits to show on which side of a threshold they
are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reports.document.table import (
    Column,
    Row,
    choose_decimals,
    format_fixed,
    is_known,
    to_number,
)
from reports.statistics import MARGIN

THRESHOLDS = (-MARGIN, 0.0)  # verdicts and outcomes compare the unrounded ends with these
DIGITS, MOST_DIGITS = 2, 4


def difference_column(head: str, key: str, mark: Callable[[Row], str] = lambda row: "") -> Column:
    """Return a column "mean [low, high]" from `key`, `key`_low and `key`_high, in points.

    mark: function that returns the mark of a row. The mark follows the text.
    """

    def text(row: Row) -> str:
        mean, low, high = (to_number(row[name]) for name in (key, f"{key}_low", f"{key}_high"))
        return format_difference(mean, low, high) + mark(row)

    return Column(head, text, key=key)


def format_difference(
    mean: float, low: float, high: float, thresholds: Sequence[float] = THRESHOLDS
) -> str:
    """Return a difference as "mean [low, high]", or without the ends if they are unknown.

    thresholds: as for `format_ends`.
    """
    words = format_fixed(mean, DIGITS, sign=True)
    if not is_known(mean) or not is_known(low):
        return words
    return f"{words} {format_ends(low, high, thresholds)}"


def format_ends(
    low: float,
    high: float,
    thresholds: Sequence[float] = THRESHOLDS,
    digits: int = DIGITS,
    sign: bool = True,
) -> str:
    """Return the ends of an interval as "[low, high]".

    The lower end gets more digits if rounding hides whether it is above a threshold. The upper end
    gets more digits if rounding hides whether it is below a threshold.
    sign: whether positive ends get a plus sign.
    """
    words = [
        format_fixed(end, choose_decimals(end, thresholds, digits, MOST_DIGITS, [side]), sign)
        for end, side in ((low, 1), (high, -1))
    ]
    return f"[{', '.join(words)}]"
