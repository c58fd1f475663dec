"""MRPC and CoLA of GLUE, read from the distributed files or through the datasets library.

GLUE does not publish the labels of its test parts. Results are therefore reported on the dev part,
as in the literature. `evaluate_on = validation` holds out a tenth of the training part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from bench.data.interface.descriptor import Facts, hash_parts
from bench.data.interface.metrics import Metric
from bench.data.interface.splits import Part, split_held_out
from bench.data.texts.dataset import TextData, TextSample, TextSet
from bench.errors import UserError, summarise_error

HUB = "nyu-mll/glue"
HELD_OUT = 0.1  # share of the training part held out for validation


@dataclass(frozen=True)
class Task:
    """Files, columns and metric of a GLUE task.

    layouts: alternatives, each with the names of the training files and of the dev files.
    row: function that converts the fields of a line. Its docstring lists the fields and is part of
    an error message.
    header: whether files begin with a header line.
    fields: names of the columns on the hub.
    train: published number of training texts.
    length: length of a typical batch, in tokens.
    """

    layouts: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    row: Callable[[Sequence[str]], TextSample]
    header: bool
    fields: tuple[str, ...]
    metric: Metric
    train: int
    length: int


def _parse_cola_row(fields: Sequence[str]) -> TextSample:
    """source, label, author's mark, sentence"""
    _, label, _, sentence = fields
    return TextSample(_require_text(sentence), label=_parse_label(label))


def _parse_mrpc_row(fields: Sequence[str]) -> TextSample:
    """label, two ids, two sentences"""
    label, _, _, first, second = fields
    return TextSample(_require_text(first), _require_text(second), _parse_label(label))


# The files of GLUE's archive, or those that CoLA's authors distribute. GLUE's dev file contains
# both of their dev files.
_GLUE = (("train.tsv",), ("dev.tsv",))
_PUBLIC = (("in_domain_train.tsv",), ("in_domain_dev.tsv", "out_of_domain_dev.tsv"))
TASKS = {
    "mrpc": Task((_GLUE,), _parse_mrpc_row, True, ("sentence1", "sentence2"), "accuracy", 3668, 72),
    "cola": Task((_GLUE, _PUBLIC), _parse_cola_row, False, ("sentence",), "matthews", 8551, 24),
}
FOLDERS = {"mrpc": ("mrpc", "MRPC", "."), "cola": ("cola", "CoLA", ".")}


class GlueSet(TextSet):
    """MRPC or CoLA, evaluated on GLUE's dev part or on a held-out part of the training part."""

    @property
    def needs_root(self) -> bool:
        """Whether a data root is required, because the datasets library is not installed."""
        return find_spec("datasets") is None

    @property
    def reads_root(self) -> bool:
        """Whether a data root is read if it is given: always, also without need."""
        return True

    @property
    def summary(self) -> str:
        """Summary line for `freezebench list`."""
        task = TASKS[self.name]
        return (
            "GLUE; from files in a data root or through the datasets library; 2 classes, "
            f"{task.train:,} training texts, scored by "
            f"{'Matthews correlation' if task.metric == 'matthews' else task.metric}"
        )

    def describe(self, root: Path | None) -> Facts:
        """Return the published facts of the task."""
        task = TASKS[self.name]
        return Facts(2, task.train, task.length)

    def fingerprint(self, root: Path | None) -> str:
        """Return a hash of all texts, or of the name on the hub if there is no data root."""
        if root is None:
            return hash_parts([f"{HUB}/{self.name}".encode()])
        return super().fingerprint(root)

    def load(self, evaluate_on: Part, root: Path | None) -> TextData:
        """Load both parts. Raises UserError for missing files and for an invalid line."""
        train, dev = _load_files(self.name, root) if root else _load_from_hub(self.name)
        if evaluate_on == "validation":
            kept, held = split_held_out(torch.tensor([text.label for text in train]), HELD_OUT)
            train, dev = [train[i] for i in kept.tolist()], [train[i] for i in held.tolist()]
        return TextData(self.name, 2, TASKS[self.name].metric, tuple(train), tuple(dev))


DATA_SETS = tuple(GlueSet(name) for name in TASKS)


def _load_files(name: str, root: Path) -> tuple[list[TextSample], list[TextSample]]:
    task = TASKS[name]
    for folder in FOLDERS[name]:
        for train, dev in task.layouts:
            if all((root / folder / file).is_file() for file in (*train, *dev)):
                return (
                    [text for file in train for text in read(root / folder / file, name)],
                    [text for file in dev for text in read(root / folder / file, name)],
                )
    wanted = ", or ".join(" with ".join((*train, *dev)) for train, dev in task.layouts)
    raise UserError(
        f"{name}: neither {root} nor its folders {' and '.join(FOLDERS[name][:2])} contain "
        f"{wanted}; give --data-root DIR, the folder that contains GLUE's files"
    )


def read(path: Path, name: str) -> list[TextSample]:
    """Return the texts of a tab-separated file; quotes have no special meaning.

    Raises UserError with the number of the first invalid line.
    """
    task = TASKS[name]
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: cannot be read ({error}); check its permissions, or download it again"
        ) from None
    texts = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or (task.header and number == 1):
            continue
        fields = line.rstrip("\r").split("\t")
        try:
            texts.append(task.row(fields))
        except ValueError:
            wanted = (task.row.__doc__ or "").strip()
            raise UserError(
                f"{path}, line {number}: must hold {wanted}, separated by tabs, with label 0 or 1 "
                f"(number of fields found: {len(fields)}); download the file again"
            ) from None
    if not texts:
        raise UserError(f"{path}: contains no texts; download it again")
    return texts


def _parse_label(text: str) -> int:
    if text not in ("0", "1"):
        raise ValueError
    return int(text)


def _require_text(text: str) -> str:
    if not text.strip():
        raise ValueError
    return text.strip()


def _load_from_hub(name: str) -> tuple[list[TextSample], list[TextSample]]:
    """Return the training and dev texts through the datasets library, which caches downloads."""
    task = TASKS[name]
    try:
        from datasets import load_dataset

        parts = load_dataset(HUB, name)
        train, dev = (
            [_convert_hub_row(row, task.fields) for row in parts[part]]
            for part in ("train", "validation")
        )
    except Exception as error:  # missing library, no network, moved file, …
        reason = summarise_error(error)
        raise UserError(
            f"{name}: download failed ({reason}); give --data-root DIR with GLUE's files, or run "
            "`pip install 'freezebench[hub]'` and allow network access"
        ) from None
    return train, dev


def _convert_hub_row(row: Mapping[str, Any], fields: Sequence[str]) -> TextSample:
    first, *second = (str(row[field]).strip() for field in fields)
    return TextSample(first, second[0] if second else "", int(row["label"]))
