"""Data classes of a table: rows of unrounded numbers, and columns that format them as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

Value = str | int | float | None
Row = Mapping[str, Value]

DASH = "–"  # text of a missing value
TERA, GIGA, MEBI = 1e12, 1e9, 2.0**20
P_THRESHOLDS = (0.025, 0.05)  # significance levels; tests compare unrounded p values with them


@dataclass(frozen=True)
class Column:
    """Column of a table: its heading, and a function that formats the text of a row."""

    head: str
    text: Callable[[Row], str]
    right: bool = True  # align to the right (numbers) or to the left (names)
    key: str = ""  # key of the row by which the column sorts; "": sort by the text


@dataclass(frozen=True)
class Table:
    """Table with rows and columns.

    blocks: columns that divide the rows into blocks. A new block begins where the text of one of
    these columns changes.
    notes: texts below the table.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    blocks: Sequence[Column] = ()
    notes: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True)
class Unit:
    """Unit in which FLOPs are printed."""

    name: str
    flops: float


def choose_unit(totals: Iterable[float]) -> Unit:
    """Return TFLOPs, the paper's unit, or GFLOPs if all totals are below one TFLOP."""
    large = any(total >= TERA for total in totals)
    return Unit("TFLOPs", TERA) if large else Unit("GFLOPs", GIGA)


def is_known(value: Value) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, int | float) and math.isfinite(value)


def to_number(value: Value) -> float:
    """Return a value as a float, or NaN if it is not a number."""
    return float(value) if isinstance(value, int | float) else math.nan


def format_fixed(value: Value, digits: int = 2, sign: bool = False) -> str:
    """Return a number with fixed decimals, a minus sign (−) and thousands separators.

    Return DASH for a missing value.
    sign: whether positive numbers get a plus sign.
    """
    if not isinstance(value, int | float) or not math.isfinite(value):
        return DASH
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    if float(text.replace(",", "")) == 0:  # no "-0.00"
        text = f"{0:.{digits}f}"
    return text.replace("-", "−")


def format_significant(value: Value, digits: int = 3) -> str:
    """Return a number with `digits` significant digits. The integer part is always complete.

    Return DASH for a missing value.
    """
    if not isinstance(value, int | float) or not math.isfinite(value):
        return DASH
    decimals = digits - 1 - math.floor(math.log10(abs(value))) if value else 0
    return format_fixed(value, max(0, decimals))


def choose_decimals(
    value: float,
    thresholds: Sequence[float],
    fewest: int,
    most: int,
    sides: Sequence[int] = (1, -1),
) -> int:
    """Return the number of decimals with which a value keeps its side of each threshold.

    The result is the smallest such number between `fewest` and `most`, or `most` if there is none.
    sides: comparisons that rounding must keep. 1 means above a threshold, and -1 means below a
    threshold.
    """

    def compare(number: float) -> list[bool]:
        return [side * (number - threshold) > 0 for threshold in thresholds for side in sides]

    decimals = fewest
    while decimals < most and compare(round(value, decimals)) != compare(value):
        decimals += 1
    return decimals


def format_p_value(value: Value) -> str:
    """Return a p value with three decimals, or "< 0.001" if it is smaller.

    More decimals are printed if three do not show on which side of a significance level
    (P_THRESHOLDS) the value is. Return DASH for a missing value.
    """
    p = to_number(value)
    if p < 0.001:
        return "< 0.001"
    return format_fixed(p, choose_decimals(p, P_THRESHOLDS, 3, 6))


def text_column(head: str, key: str) -> Column:
    """Return a column of unchanged texts."""
    return Column(head, lambda row: str(row[key] or DASH), right=False, key=key)


# Block columns of a table with one block for each pair of model and data set.
PAIR_COLUMNS = (text_column("Model", "model"), text_column("Data", "dataset"))


def number_column(
    head: str, key: str, digits: int = 2, sign: bool = False, scale: float = 1.0, mark: str = ""
) -> Column:
    """Return a column of numbers with fixed decimals, divided by `scale`.

    mark: key under which a row holds the mark (such as "†") that follows the number.
    """
    return Column(
        head,
        lambda row: (
            format_fixed(_scale_value(row[key], 1 / scale), digits, sign)
            + _get_mark(row, key, mark)
        ),
        key=key,
    )


def rounded_column(
    head: str, key: str, digits: int = 3, scale: float = 1.0, mark: str = ""
) -> Column:
    """Return a column of numbers with significant digits, divided by `scale`.

    mark: key of the row for a mark after the number.
    """
    return Column(
        head,
        lambda row: (
            format_significant(_scale_value(row[key], 1 / scale), digits)
            + _get_mark(row, key, mark)
        ),
        key=key,
    )


def p_value_column(head: str, key: str) -> Column:
    """Return a column of p values."""
    return Column(head, lambda row: format_p_value(row[key]), key=key)


def percent_column(head: str, key: str, digits: int = 1, mark: str = "") -> Column:
    """Return a column of shares (0 to 1), printed in percent.

    mark: key of the row for a mark after the number.
    """
    return Column(
        head,
        lambda row: format_fixed(_scale_value(row[key], 100), digits) + _get_mark(row, key, mark),
        key=key,
    )


def mean_sd_column(head: str, key: str, mark: str = "", digits: int | None = 2) -> Column:
    """Return a column "mean ± standard deviation" from `key` and `key`_sd.

    digits: decimals of both numbers. None means enough for three significant digits of the mean,
    and more if the standard deviation would be printed as zero.
    mark: key of the row for a mark after the text.
    """

    def text(row: Row) -> str:
        centre, spread = row[key], row[f"{key}_sd"]
        places = digits if digits is not None else _count_decimals(centre)
        while digits is None and 1e-6 < to_number(spread) < 0.5 * 10**-places:
            places += 1
        words = format_fixed(centre, places)
        if is_known(centre) and is_known(spread):
            words += f" ± {format_fixed(spread, places)}"
        return words + (str(row[mark] or "") if mark else "")

    return Column(head, text, key=key)


def interval_column(
    head: str, key: str, mark: str = "", digits: int = 2, scale: float = 1.0, sign: bool = True
) -> Column:
    """Return a column "mean [low, high]" from `key`, `key`_low and `key`_high, times `scale`.

    mark: key at which a row holds a mark, which is printed after the text.
    """

    def text(row: Row) -> str:
        centre, low, high = (
            _scale_value(row[k], scale) for k in (key, f"{key}_low", f"{key}_high")
        )
        words = format_fixed(centre, digits, sign)
        if is_known(centre) and is_known(low):
            words += f" [{format_fixed(low, digits, sign)}, {format_fixed(high, digits, sign)}]"
        return words + (str(row[mark] or "") if mark else "")

    return Column(head, text, key=key)


def _get_mark(row: Row, key: str, mark: str) -> str:
    """Return the mark after a number, or "" if the number is missing.

    key, mark: keys of the row for the number and for its mark.
    """
    return str(row[mark] or "") if mark and is_known(row[key]) else ""


def _scale_value(value: Value, factor: float) -> Value:
    return value * factor if isinstance(value, int | float) else None


def _count_decimals(value: Value) -> int:
    if not isinstance(value, int | float) or not math.isfinite(value) or not value:
        return 0
    return max(0, 2 - math.floor(math.log10(abs(value))))


def group_blocks(table: Table) -> list[tuple[list[str], list[list[str]]]]:
    """Return each block as the texts of its block columns and the texts of its rows.

    The texts of a row are those of all other columns.
    """

    def key(row: Row) -> list[str]:
        return [column.text(row) for column in table.blocks]

    return [
        (words, [[column.text(row) for column in table.columns] for row in rows])
        for words, rows in groupby(table.rows, key)
    ]
