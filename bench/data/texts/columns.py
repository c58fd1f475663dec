"""Columns of a table that hold texts and labels, and the conversion of rows into samples."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.data.texts.dataset import TextSample
from bench.data.texts.labels import UNLABELLED
from bench.data.texts.table_file import Row
from bench.errors import UserError
from bench.files import expand_home

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


@dataclass(frozen=True)
class Columns:
    """Names of one or two text columns and of the label column."""

    texts: tuple[str, ...]
    label: str


def parse_columns(name: str) -> tuple[str, Columns | None]:
    """Split PLACE#TEXT,LABEL or PLACE#TEXT,TEXT,LABEL into the place and the columns.

    Without "#", or if the whole name is a path that exists, the columns are None. Raises UserError
    for another number of columns.
    """
    marks = [at for at, sign in enumerate(name) if sign == "#"]
    if not marks or _exists(name):
        return name, None
    # A path may contain "#", and so may the name of a column.
    split = next((at for at in marks if _exists(name[:at])), marks[0])
    place = name[:split]
    names = tuple(part.strip() for part in name[split + 1 :].split(","))
    if len(names) not in (2, 3) or not all(names) or len(set(names)) < len(names):
        raise UserError(
            f"{name}: after #, give one or two text columns and the label column, as #TEXT,LABEL"
        )
    return place, Columns(names[:-1], names[-1])


def find_columns(rows: Sequence[Row], where: str) -> Columns:
    """Return the text and label columns whose names are in `TEXTS` and `LABELS`.

    Raises UserError if it finds no text columns, or not exactly one label column.
    """
    present = list(rows[0])
    columns = _guess_columns(present)
    if columns is None:
        # In JSON Lines, each row has its own columns. Name the column that the first row lacks.
        columns = _guess_columns(list({name: None for row in rows for name in row}))
        if columns is not None:
            check_columns(rows, columns, where)
        raise UserError(
            f"{where}: cannot tell its text and label columns; name them as #TEXT,LABEL or "
            f"#TEXT,TEXT,LABEL (its columns: {_list_names(present)})"
        )
    return columns


def _guess_columns(present: Sequence[str]) -> Columns | None:
    labels = [name for name in LABELS if name in present]
    texts = [names for names in TEXTS if all(name in present for name in names)]
    return Columns(texts[0], labels[0]) if len(labels) == 1 and texts else None


def check_columns(rows: Sequence[Row], columns: Columns, where: str) -> None:
    """Raise UserError if the first row, or every row, lacks one of the columns."""
    for name in (*columns.texts, columns.label):
        if has_column(rows[:1], name):
            continue
        if has_column(rows, name):
            raise UserError(f"{where}, row 1: has no {name!r}; remove the row, or correct it")
        raise UserError(
            f"{where}: has no column {name!r}; its columns: {_list_names(list(rows[0]))}"
        )


def has_column(rows: Sequence[Row], name: str) -> bool:
    """Return whether any row has the column. In JSON Lines, each row has its own columns."""
    return any(name in row for row in rows)


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
            remedy = "correct the file"
            if label == UNLABELLED:
                remedy = "-1 usually means no label, so remove all rows with it"
            raise UserError(
                f"{where}, row {number}: the label {label[:40]!r} is not among the labels of the "
                f"training part ({_list_names(list(classes))}); {remedy}"
            )
        place = f"{where}, row {number}"
        first, *second = (_read_text(row.get(name), name, place) for name in columns.texts)
        samples.append(TextSample(first, second[0] if second else "", classes[label]))
    return samples


def _read_text(value: Any, column: str, where: str) -> str:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if missing or (isinstance(value, str) and not value.strip()):
        raise UserError(f"{where}: has no text in column {column!r}; remove the row, or correct it")
    if not isinstance(value, str):
        raise UserError(
            f"{where}: column {column!r} contains a value of type {type(value).__name__}, not a "
            "text; name a text column as #TEXT,LABEL, or store its values as texts"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can contain half of a surrogate pair
        raise UserError(
            f"{where}: the text in column {column!r} contains {value[error.start]!a}, which is not "
            "a character; remove the row, or correct it"
        ) from None
    return value.strip()


def _exists(place: str) -> bool:
    # Unlike Path.exists, os.path.exists is false for a name that is too long for the file system.
    return os.path.exists(expand_home(place))  # noqa: PTH110


def _list_names(names: Sequence[str]) -> str:
    return ", ".join(repr(name[:40]) for name in names[:12]) + (" …" if len(names) > 12 else "")
