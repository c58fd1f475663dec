"""Sweeps of tiny runs for the soak, drawn so that every strategy has its turn."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.planning.sweep import Sweep, load_sweep
from bench.strategy_api.built_in import find_built_in
from tests.support.tiny_runs import TINY_OPTIONS

STRATEGIES_IN_A_ROUND = 12
# Options with which further strategies freeze within a tiny run.
OPTIONS: dict[str, dict[str, Any]] = {
    **TINY_OPTIONS,
    "cka_oracle": {"epsilon": 0.5, "k": 2, "samples": 64},
    "record": {"samples": 64, "gradient": True},
    "smartfrz": {"stages_per_epoch": 3, "warmup": 0.0, "threshold": 0.2},
}
MATCHABLE = ("at_once", "linear", "prefix", "random", "shortened", "spfde")
# Model, data set, and the values of the data set's role: convolutions with and without BatchNorm, a
# vision transformer and a text model.
WORLDS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet50": ("digits10", {"train_limit": 96, "epochs": 20}),
    "bert_base": ("grammar:acceptability", {"train_limit": 96, "epochs": 20}),
    "vgg11": ("digits10", {"train_limit": 192, "epochs": 12}),
    "deit_tiny": ("digits10", {"train_limit": 96, "epochs": 20, "lr": 0.01}),
}


@dataclass(frozen=True)
class Round:
    """One sweep of the soak, with the random numbers of its disturbances."""

    number: int
    strategies: tuple[str, ...]
    model: str
    replicas: int
    on_slurm: bool
    draw: random.Random

    def __str__(self) -> str:
        where = "Slurm" if self.on_slurm else "local launcher"
        many = f", {self.replicas} processes a run" if self.replicas > 1 else ""
        return f"round {self.number}, {where}, {self.model}{many}: {', '.join(self.strategies)}"


def draw_rounds(seed: int, slurm: bool) -> Iterator[Round]:
    """Yield rounds without end. Round k depends on the seed and k alone.

    Every fifth round is on Slurm, if `slurm`. Slurm's nodes here have one core, so only local runs
    have replicas.
    """
    names = list(find_built_in())
    number = 0
    while True:
        deck = random.Random(f"{seed} deck {number}").sample(names, len(names))
        for first in range(0, len(deck), STRATEGIES_IN_A_ROUND):
            draw = random.Random(f"{seed} round {number}")
            model = list(WORLDS)[(number + seed) % len(WORLDS)]
            on_slurm = slurm and number % 5 == 1
            both = not on_slurm and draw.random() < 0.25
            chosen = tuple(deck[first : first + STRATEGIES_IN_A_ROUND])
            yield Round(number, chosen, model, 2 if both else 1, on_slurm, draw)
            number += 1


def write_sweep(this: Round, file: Path) -> Sweep:
    """Write the sweep file of a round, and return the sweep.

    Each strategy in MATCHABLE is matched to another method of the round with probability 0.5.
    """
    data, values = WORLDS[this.model]
    if this.replicas > 1:
        values = {**values, "replicas": this.replicas}
    seed = this.draw.randrange(100)
    others = [name for name in this.strategies if name not in MATCHABLE]
    parts = [
        'title = "Soak"\n[grid]\n'
        f'models = ["{this.model}"]\ndatasets = ["tiny"]\nseeds = [{seed}]\n'
        f'[datasets.tiny]\ndata = "{data}"\n',
        *(f"{key} = {json.dumps(value)}\n" for key, value in values.items()),
    ]
    for name in this.strategies:
        matched = name in MATCHABLE and others and this.draw.random() < 0.5
        options = "" if matched else _format_options(OPTIONS.get(name, {}))
        match = f'match = "{others[0]}"\n' if matched else ""
        parts.append(f'[[methods]]\nname = "{name}"\n{match}options = {{{options}}}\n')
    file.write_text("".join(parts))
    return load_sweep(str(file), "laptop")


def _format_options(options: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
