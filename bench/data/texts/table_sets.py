"""Text tables as data sets: texts:PATH for files, and datasets:NAME for the datasets library.

For `evaluate_on = test`, the evaluation part is the test part if it has labels, otherwise the
validation part. With neither, it is a fifth of the training part. For `evaluate_on = validation`,
it is the validation part if a test part exists too. Otherwise it is a tenth of the samples that are
left for training.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from bench.data.interface.descriptor import DataSet, Facts
from bench.data.interface.splits import Part, split_held_out
from bench.data.texts.columns import (
    Columns,
    check_columns,
    find_columns,
    has_column,
    make_samples,
    parse_columns,
)
from bench.data.texts.dataset import TextData, TextSample, TextSet
from bench.data.texts.labels import UNLABELLED, list_classes, read_labels
from bench.data.texts.part_files import find_part_files, read_part
from bench.data.texts.part_names import NAMES, refuse_unread_splits
from bench.data.texts.table_file import SUFFIXES, Row, read_table
from bench.errors import UserError, summarise_error
from bench.files import expand_home

HELD_OUT = {"test": 0.2, "validation": 0.1}  # shares of the training part
TOKENS_PER_WORD = 1.5  # for estimates of cost

Samples = Sequence[TextSample]


class TableSet(TextSet):
    """Text data set whose parts are tables."""

    def find(self, name: str) -> DataSet | None:
        """Return the data set for a name that begins with the prefix of this one, else None."""
        prefix = self.name.partition(":")[0]
        return replace(self, name=name) if name.partition(":")[0] == prefix else None

    @property
    def place(self) -> str:
        """Name without its prefix and without its columns."""
        return parse_columns(self.name.partition(":")[2])[0]

    @property
    def trains_on_validation(self) -> bool:
        """Whether the validation samples are a part of the training part."""
        return not {"test", "validation"} <= self.read_parts().keys()

    @abstractmethod
    def read_parts(self) -> Mapping[str, tuple[str, list[Row]]]:
        """Return the rows and the origin of each existing part in NAMES.

        A table without parts counts as "train". Raises UserError if there is no table.
        """

    def describe(self, root: Path | None) -> Facts:
        """Return the number of classes and of training texts, and an estimated text length."""
        parts, classes = _load_parts(self)
        words = sorted(len(f"{t.first} {t.second}".split()) for t in parts["train"])
        # Most batches contain one of the longest tenth of the texts.
        length = round(words[len(words) * 9 // 10] * TOKENS_PER_WORD) + 2
        return Facts(classes, len(_split(parts, "test", self.name)[0]), -(-length // 8) * 8)

    def load(self, evaluate_on: Part, root: Path | None) -> TextData:
        """Load both parts. Raises UserError for missing files, columns, labels and texts."""
        parts, classes = _load_parts(self)
        train, evaluation = _split(parts, evaluate_on, self.name)
        return TextData(self.name, classes, "accuracy", tuple(train), tuple(evaluation))


class FileTableSet(TableSet):
    """Text data set of one file, or of a folder with files or shards of its parts."""

    @property
    def summary(self) -> str:
        """Summary line for `freezebench list`."""
        return f"texts with labels in a file or in PATH/train.* ({', '.join(SUFFIXES)})"

    def read_parts(self) -> Mapping[str, tuple[str, list[Row]]]:
        """Return the rows of each file of the folder, or those of the one file."""
        path = expand_home(self.place)
        if path.is_file():
            return {"train": (str(path), read_table(path))}
        if not self.place:
            raise UserError(f"{self.name}: no file or folder is given; write texts:PATH")
        if not path.is_dir():
            raise UserError(f"{self.name}: there is no file or folder {path}; check the path")
        return {part: read_part(files) for part, files in find_part_files(path, self.name).items()}


class LibrarySet(TableSet):
    """Text data set of the datasets library: datasets:NAME or datasets:NAME:CONFIGURATION."""

    @property
    def summary(self) -> str:
        """Summary line for `freezebench list`."""
        return "a data set of the Hugging Face hub, through the datasets library"

    def read_parts(self) -> Mapping[str, tuple[str, list[Row]]]:
        """Return the rows of each split that the library finds."""
        name, _, configuration = self.place.partition(":")
        try:
            from datasets import load_dataset
        except ImportError:
            raise UserError(
                f"{self.name}: needs the datasets library; install it with `pip install "
                "'freezebench[hub]'`, or give files as texts:PATH"
            ) from None
        try:
            splits = load_dataset(name, configuration or None)
        except Exception as error:  # no network, unknown name, missing configuration, …
            reason = summarise_error(error)
            raise UserError(
                f"{self.name}: cannot be loaded ({reason}); write datasets:NAME or "
                "datasets:NAME:CONFIGURATION, or give files as texts:PATH"
            ) from None
        found = {
            part: (f"{self.name}, split {split}", list(splits[split]))
            for part, names in NAMES.items()
            for split in [next((n for n in names if n in splits), None)]
            if split
        }
        if "train" not in found:
            raise UserError(f"{self.name}: has no training split; its splits: {', '.join(splits)}")
        for part in NAMES:
            if part not in found:
                refuse_unread_splits(list(splits), part, self.name)
        return found


DATA_SETS = (FileTableSet("texts:PATH"), LibrarySet("datasets:NAME"))


@lru_cache(maxsize=4)
def _load_parts(data_set: TableSet) -> tuple[dict[str, list[TextSample]], int]:
    """Return the samples of each part that has labels, and the number of classes."""
    tables = dict(data_set.read_parts())
    where, rows = tables["train"]
    columns = parse_columns(data_set.name.partition(":")[2])[1] or find_columns(rows, where)
    labels = _read_all_labels(tables, columns)
    classes = list_classes(labels["train"], where)
    parts = {
        part: make_samples(tables[part][1], own, columns, classes, tables[part][0])
        for part, own in labels.items()
    }
    return parts, len(classes)


def _read_all_labels(
    tables: Mapping[str, tuple[str, list[Row]]], columns: Columns
) -> dict[str, list[str]]:
    """Return the labels of each part. A test part whose labels are hidden is left out."""
    labels = {}
    for part, (where, rows) in tables.items():
        if part == "test" and not has_column(rows, columns.label):
            _refuse_other_labels(rows, tables["train"][1], columns, where)
            continue
        check_columns(rows, columns, where)
        own = read_labels(rows, columns.label, where)
        if part == "test" and set(own) == {UNLABELLED}:
            continue
        labels[part] = own
    return labels


def _refuse_other_labels(
    rows: Sequence[Row], train: Sequence[Row], columns: Columns, where: str
) -> None:
    """Raise UserError if a test part has labels in a column that the training part lacks.

    A column counts as labels if all its values are labels of the training part. It also counts if
    it has at least two different values, and at most half as many as rows (but two are always
    allowed). Row numbers, as in SST-2's test.tsv, all differ, so they do not count as labels.
    """
    known = {str(row.get(columns.label)) for row in train}
    for name in dict.fromkeys(name for row in rows for name in row):
        if has_column(train, name):
            continue
        values = {str(row.get(name)) for row in rows}
        if values <= known or 2 <= len(values) <= max(2, len(rows) // 2):
            raise UserError(
                f"{where}: has no column {columns.label!r}, and its column {name!r} is not in the "
                f"training part; rename it to {columns.label!r} if it holds the labels, or remove "
                "it"
            )


def _split(parts: Mapping[str, Samples], evaluate_on: Part, name: str) -> tuple[Samples, Samples]:
    """Return the training part and the evaluation part."""
    train = parts["train"]
    held = [part for part in ("test", "validation") if part in parts]
    if not held:
        train, test = _hold_out(train, HELD_OUT["test"], name)
        if evaluate_on == "test":
            return train, test
    elif evaluate_on == "test" or held == ["test", "validation"]:
        return train, parts[held[0] if evaluate_on == "test" else "validation"]
    return _hold_out(train, HELD_OUT["validation"], name)


def _hold_out(train: Samples, share: float, name: str) -> tuple[Samples, Samples]:
    try:
        kept, held = split_held_out(torch.tensor([text.label for text in train]), share)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    return [train[i] for i in kept.tolist()], [train[i] for i in held.tolist()]
