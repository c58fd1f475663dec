"""Reading of the labels of a table, and the order of the classes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from bench.data.texts.table_file import Row
from bench.errors import UserError

MOST_CLASSES = 1000
UNLABELLED = "-1"  # label of the hidden labels of a test part (GLUE) and of texts without a class
# Programs write these for an empty cell. "none" and "NONE" are left out: some data sets have them.
MISSING = {"nan", "NaN", "NA", "N/A", "<NA>", "#N/A", "null", "NULL", "None"}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,9})?")
_TRUTH = {"false": Decimal(0), "true": Decimal(1)}


def read_labels(rows: Sequence[Row], column: str, where: str) -> list[str]:
    """Return the label of each row as text; 1, 1.0 and "1" are the same label.

    Raises UserError for a missing label, and for several labels in one row. Raises UserError for a
    number with a fraction, even if it is stored as text.
    """
    return [
        _read_label(row.get(column), f"{where}, row {number}") for number, row in enumerate(rows, 1)
    ]


def list_classes(labels: Sequence[str], where: str) -> dict[str, int]:
    """Return the index of each class: in numerical order for integers, else in alphabetical order.

    Raises UserError for fewer than two classes. Raises UserError for so many classes that the
    column seems to hold free text. Raises UserError if one class is written in two ways, or if a
    label seems to mean "no label".
    """
    found = set(labels)
    most = max(2, min(MOST_CLASSES, len(labels) // 2))
    if not 2 <= len(found) <= most:
        raise UserError(
            f"{where}: its label column must hold from 2 to {most:,} different values (rows: "
            f"{len(labels):,}), but holds {len(found):,}; name another column as #TEXT,LABEL"
        )
    _refuse_spellings(found, where)
    if not all(label.removeprefix("-").isdecimal() for label in found):
        ordered = sorted(found)
    else:
        # Decimal has no limit on the number of digits, unlike int. No two values are equal here, so
        # the order does not depend on the hashes of the set.
        ordered = sorted(found, key=Decimal)
        # {-1, 1} and {-1, 0, 1} are common classes: negative, neutral and positive.
        lone = ordered[0] == UNLABELLED and not ordered[1].startswith("-")
        if lone and len(ordered) > 2 and Decimal(ordered[-1]) > 1:
            raise UserError(
                f"{where}, row {labels.index(UNLABELLED) + 1}: the label -1 usually means no "
                "label; remove all rows with it, or rename the label if it is a class"
            )
    return {label: number for number, label in enumerate(ordered)}


def _refuse_spellings(found: set[str], where: str) -> None:
    """Raise UserError if two labels differ only in case or in how a value is written."""
    first: dict[Decimal | str, str] = {}
    for label in sorted(found):
        value = _parse_number(label)
        key = _TRUTH.get(label.lower(), label.lower()) if value is None else value
        other = first.setdefault(key, label)
        if other != label:
            same_letters = other.lower() == label.lower()
            reason = "differ only in case" if same_letters else "have the same value"
            raise UserError(
                f"{where}: the labels {other[:40]!r} and {label[:40]!r} {reason}; write each class "
                "in one way"
            )


def _read_label(value: Any, where: str) -> str:
    if isinstance(value, float):
        value = int(value) if value.is_integer() else value if math.isfinite(value) else None
    if isinstance(value, (list, dict)):
        raise UserError(
            f"{where}: the label is a {type(value).__name__}; give each text one label, because "
            "several labels per text are not supported"
        )
    label = "" if value is None else str(value).strip()
    if not label:
        raise UserError(f"{where}: has no label; remove the row, or correct it")
    if label in MISSING:
        raise UserError(
            f"{where}: the label {label!r} usually means no label; remove the row, or rename the "
            "label if it is a class"
        )
    number = _parse_number(label)
    if number is not None and number != number.to_integral_value():
        raise UserError(
            f"{where}: the label {label[:40]} is no class, because it has a fraction; name a "
            "column of classes, or rename the classes"
        )
    head, point, zeros = label.partition(".")
    whole = point and head.removeprefix("-").isdecimal() and not zeros.strip("0")
    return head if whole else label


def _parse_number(label: str) -> Decimal | None:
    return Decimal(label) if _NUMBER.fullmatch(label) else None
