"""Splits of the recorded runs into folds: runs to fit on, and runs that are held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.multiprocessing

from bench.seeds import make_generator
from strategies.smartfrz.training.corpus import RunOrigin

SPLITS = {
    "run": "held out: a random fifth of the runs",
    "family": "held out: all runs of one model family",
    "task": "held out: all runs of one task",
    "both": "held out: one model family on one task, without its other runs in training",
}
CHOOSING = ("family", "task")  # splits used to choose features, labels and threshold
PARTS = 5


@dataclass(frozen=True)
class Fold:
    """Runs that are held out together, and the runs to fit on.

    held: runs that are held out. fit: runs to fit on. Both are indices into origins.
    """

    split: str
    name: str
    fit: tuple[int, ...]
    held: tuple[int, ...]


def make_folds(origins: Sequence[RunOrigin], split: str) -> list[Fold]:
    """Return all folds of a split of the runs. split: a key of SPLITS."""
    everyone = range(len(origins))
    if split == "run":
        order = torch.randperm(len(origins), generator=make_generator("folds", 0)).tolist()
        groups = {i: str(place % PARTS) for place, i in enumerate(order)}
    else:
        names = {"family": "{0.family}", "task": "{0.task}", "both": "{0.family}, {0.task}"}
        groups = {i: names[split].format(origins[i]) for i in everyone}
    made = []
    for group in sorted(set(groups.values())):
        held = [i for i in everyone if groups[i] == group]
        families = {origins[i].family for i in held} if split == "both" else set()
        tasks = {origins[i].task for i in held} if split == "both" else set()
        fit = [
            i
            for i in everyone
            if groups[i] != group
            and origins[i].family not in families
            and origins[i].task not in tasks
        ]
        made.append(Fold(split, group, tuple(fit), tuple(held)))
    return made
