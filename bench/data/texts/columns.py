"""Columns of a table that hold texts and labels, and their conversion into samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.data.texts.dataset import TextSample
from bench.data.texts.table_file import Row
from bench.errors import UserError

LABELS = ("label", "labels", "class", "target")
# Names of text columns in common data sets, pairs first.
TEXTS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text", "text_pair"),
    ("text",),
    ("sentence",),
)
MOST_CLASSES = 1000
UNLABELLED = "-1"  # label of the hidden labels of a test part (GLUE)


@dataclass(frozen=True)
class Columns:
    """Names of one or two text columns and of the label column."""

    texts: tuple[str, ...]
    label: str


def parse_columns(name: str) -> tuple[str, Columns | None]:
    """Split PLACE#TEXT,LABEL or PLACE#TEXT,TEXT,LABEL into the place and the columns.

    Without "#", the columns are None. Raises UserError for another number of columns.
    """
    place, mark, listed = name.partition("#")
    if not mark:
        return name, None
    names = tuple(part.strip() for part in listed.split(","))
    if len(names) not in (2, 3) or not all(names) or len(set(names)) < len(names):
        raise UserError(
            f"{name}: after #, give one or two text columns and the label column, as #TEXT,LABEL"
        )
    return place, Columns(names[:-1], names[-1])


def find_columns(rows: Sequence[Row], where: str) -> Columns:
    """Return the columns that have common names. Raises UserError if there are none."""
    present = list(rows[0])
    labels = [name for name in LABELS if name in present]
    texts = [names for names in TEXTS if all(name in present for name in names)]
    if len(labels) != 1 or not texts:
        raise UserError(
            f"{where}: cannot tell its text and label columns; name them as #TEXT,LABEL or "
            f"#TEXT,TEXT,LABEL (its columns: {_list_names(present)})"
        )
    return Columns(texts[0], labels[0])


def check_columns(rows: Sequence[Row], columns: Columns, where: str) -> None:
    """Raise UserError if a column does not exist."""
    for name in (*columns.texts, columns.label):
        if name not in rows[0]:
            raise UserError(
                f"{where}: has no column {name!r}; its columns: {_list_names(list(rows[0]))}"
            )


def read_labels(rows: Sequence[Row], columns: Columns, where: str) -> list[str]:
    """Return the label of each row as text; 1, 1.0 and "1" are the same label.

    Raises UserError for a missing label and for a number with a fraction.
    """
    return [
        _read_label(row.get(columns.label), f"{where}, row {number}")
        for number, row in enumerate(rows, 1)
    ]


def list_classes(labels: Sequence[str], where: str) -> dict[str, int]:
    """Return the number of each class, in the order of numbers or else of letters.

    Raises UserError for fewer than two classes, and for as many as a column of free text has.
    """
    found = set(labels)
    if len(found) < 2 or len(found) > max(2, min(MOST_CLASSES, len(labels) // 2)):
        raise UserError(
            f"{where}: its label column has {len(found):,} different values in {len(labels):,} "
            "rows; name a column of classes"
        )
    numbers = all(label.removeprefix("-").isdecimal() for label in found)
    ordered = sorted(found, key=int) if numbers else sorted(found)
    return {label: number for number, label in enumerate(ordered)}


def make_samples(
    rows: Sequence[Row],
    labels: Sequence[str],
    columns: Columns,
    classes: Mapping[str, int],
    where: str,
) -> list[TextSample]:
    """Return the rows as samples. Raises UserError for an empty text and for an unknown class."""
    samples = []
    for number, (row, label) in enumerate(zip(rows, labels, strict=True), 1):
        if label not in classes:
            raise UserError(
                f"{where}, row {number}: the label {label!r} is not among the labels of the "
                f"training part ({_list_names(list(classes))}); correct the file"
            )
        place = f"{where}, row {number}"
        first, *second = (_read_text(row.get(name), name, place) for name in columns.texts)
        samples.append(TextSample(first, second[0] if second else "", classes[label]))
    return samples


def _read_label(value: Any, where: str) -> str:
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, float) and math.isfinite(value):
        raise UserError(f"{where}: the label {value} is no class; name a column of classes")
    label = "" if value is None or isinstance(value, float) else str(value).strip()
    if not label or isinstance(value, (list, dict)):
        raise UserError(f"{where}: has no label; remove the row, or correct it")
    head, point, zeros = label.partition(".")
    whole = point and head.removeprefix("-").isdecimal() and not zeros.strip("0")
    return head if whole else label


def _read_text(value: Any, column: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{where}: has no text in column {column!r}; remove the row, or correct it")
    return value.strip()


def _list_names(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:12])) + (" …" if len(names) > 12 else "")
