"""Sets of texts by name: the grammar's and GLUE's, and which models take which data."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import torch

from bench.data.interface.splits import Part
from bench.data.texts import glue
from bench.data.texts.dataset import TextData
from bench.data.texts.grammar import tasks

GRAMMAR = tuple("grammar" + (f":{v}" if v else "") for v in tasks.RECIPES)
TEXTS = (*GRAMMAR, *glue.TASKS)


def is_text(data: str) -> bool:
    """Whether a data set by this name is one of texts."""
    return data in TEXTS


@lru_cache(maxsize=4)
def load(name: str, evaluate_on: Part, root: str, train_limit: int) -> TextData:
    """A set of texts; train_limit > 0 keeps that many for training, all classes alike."""
    kind, _, rest = name.partition(":")
    place = Path(root) if root else None
    data = (
        tasks.load(rest, evaluate_on) if kind == "grammar" else glue.load(name, evaluate_on, place)
    )
    if not train_limit:
        return data
    from bench.data.interface.splits import in_turn

    labels = torch.tensor([text.label for text in data.train])
    kept = in_turn(labels, max(1, data.classes), train_limit).tolist()
    train = tuple(data.train[i] for i in kept)
    return TextData(data.name, data.classes, data.metric, train, data.evaluation)


def fingerprint(name: str, root: Path | None) -> str:
    """Sixteen hex digits over all texts of a set; over its name where the hub holds it."""
    digest = hashlib.sha256()
    if name in glue.TASKS and root is None:
        digest.update(f"{glue.HUB}/{name}".encode())
        return digest.hexdigest()[:16]
    for part in ("test", "validation"):
        data = load(name, part, str(root or ""), 0)
        for text in (*data.train, *data.evaluation):
            digest.update(f"{text.label}\t{text.first}\t{text.second}\n".encode())
    return digest.hexdigest()[:16]


def facts(name: str) -> tuple[int, int, int]:
    """Classes, training texts and a typical padded length, told without loading."""
    kind, _, rest = name.partition(":")
    if kind == "grammar":
        recipe = tasks.RECIPES[rest]
        return recipe.classes, recipe.train, recipe.length
    task = glue.TASKS[name]
    return 2, task.train, task.length


def lines() -> dict[str, str]:
    """A line on each set, for `freezebench list`."""
    found = {}
    for name in GRAMMAR:
        classes, train, _ = facts(name)
        task = f"{classes} classes" if classes else "masked words"
        found[name] = f"embedded; {task}, {train:,} training texts"
    for name, glued in glue.TASKS.items():
        found[name] = (
            "GLUE's, from files below a data root or through the datasets library; 2 classes, "
            f"{glued.train:,} training texts, scored by {glued.metric}"
        )
    return found
