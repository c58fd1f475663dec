"""Groups of recorded runs that are held out together when a predictor is fitted."""

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
class HeldOutGroup:
    """Runs that are held out together, and the runs to fit on.

    split: key of SPLITS.
    name: family, task or number of the group.
    fit: runs to fit on, as indices into origins.
    held: runs that are held out, as indices into origins.
    """

    split: str
    name: str
    fit: tuple[int, ...]
    held: tuple[int, ...]


def make_groups(origins: Sequence[RunOrigin], split: str) -> list[HeldOutGroup]:
    """Return all groups of a split of the runs.

    split: a key of SPLITS.
    """
    everyone = range(len(origins))
    if split == "run":
        # The word "folds" seeds the order, so scores depend on it.
        order = torch.randperm(len(origins), generator=make_generator("folds", 0)).tolist()
        names = {i: str(place % PARTS) for place, i in enumerate(order)}
    else:
        forms = {"family": "{0.family}", "task": "{0.task}", "both": "{0.family}, {0.task}"}
        names = {i: forms[split].format(origins[i]) for i in everyone}
    made = []
    for name in sorted(set(names.values())):
        held = [i for i in everyone if names[i] == name]
        families = {origins[i].family for i in held} if split == "both" else set()
        tasks = {origins[i].task for i in held} if split == "both" else set()
        fit = [
            i
            for i in everyone
            if names[i] != name
            and origins[i].family not in families
            and origins[i].task not in tasks
        ]
        made.append(HeldOutGroup(split, name, tuple(fit), tuple(held)))
    return made
