"""Splits of the recorded runs into training and held-out folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.multiprocessing

from bench.seeds import make_generator
from strategies.smartfrz.training.corpus import RunOrigin

SPLITS = {
    "run": "unseen runs of known families and tasks, in five parts",
    "family": "an unseen family of architectures",
    "task": "an unseen task",
    "both": "an unseen family on an unseen task",
}
CHOOSING = ("family", "task")  # the splits by which features, labels and threshold are chosen
PARTS = 5


@dataclass(frozen=True)
class Fold:
    """Runs that are left out together, and those that are fitted on; indices of origins."""

    split: str
    name: str
    fit: tuple[int, ...]
    held: tuple[int, ...]


def make_folds(origins: Sequence[RunOrigin], split: str) -> list[Fold]:
    """All folds of a split; see SPLITS."""
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
