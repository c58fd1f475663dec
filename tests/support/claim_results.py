"""Synthetic runs of Tables 1 to 9 and Figure 5 that make claims hold, fail or stay undecided."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from bench.data.interface.metrics import compute_contributions
from reports.runs.sample_scores import SampleScores
from tests.support.synthetic_results import make_evaluation

ALL = [(m, d) for m in ("resnet50", "vgg11", "mobilenet_v2", "deit_tiny")
       for d in ("cifar10", "cifar100")]  # fmt: skip
TWO = [("resnet50", "cifar100"), ("vgg11", "cifar100")]
FOUR = ["full", "linear", "autofreeze", "smartfrz"]
TABLES = {
    "table1": (TWO, ["full", "cka_oracle"]),
    "table2": (ALL, FOUR),
    "table3": ([("resnet50", "cifar100"), ("resnet50", "imagenet")], FOUR),
    "table4": (TWO, ["full", "window 20", "window 30", "window 40", "window 50"]),
    "table5": (TWO, ["full", "size 512", "size 1024", "size 2048", "size 4096"]),
    "table6": ([("bert_base", "mrpc"), ("bert_base", "cola")], FOUR),
    "table7": ([("deit_tiny", "imagenet")], FOUR),
    "table8": ([("resnet50", "cifar10")], ["full", "t0 0.3", "t0 0.4", "t0 0.5", "t0 0.6"]),
    "table9": ([("resnet50", "cifar10")], ["full", "M 2", "M 3", "M 4", "M 5"]),
    "figure5": ([(m, "cifar100") for m in ("resnet50", "vgg11", "mobilenet_v2")], FOUR),
}
SEEDS, LAYERS = 5, 8
FULL = {"accuracy": 90.0, "flops": 0.0, "time": 0.0, "decide": 0.0}
# Accuracy in percent; shares of FLOPs and time saved; share of the time that decisions take.
KIND = {
    "full": FULL,
    "cka_oracle": FULL | {"flops": 0.5, "time": 0.4},
    "linear": FULL | {"accuracy": 88.0, "flops": 0.4, "time": 0.3},
    "autofreeze": FULL | {"accuracy": 88.0, "flops": 0.3, "time": 0.1, "decide": 0.1},
    "smartfrz": FULL | {"flops": 0.4, "time": 0.39, "decide": 0.0005},
    "t0 0.5": FULL | {"accuracy": 92.0},
}
HARSH = {
    "full": FULL,
    "cka_oracle": FULL | {"accuracy": 85.0, "flops": 0.2},
    "linear": FULL | {"accuracy": 87.0, "flops": 0.2},
    "autofreeze": FULL | {"accuracy": 87.0, "flops": 0.2, "time": 0.1, "decide": 0.01},
    "smartfrz": FULL | {"accuracy": 85.0, "flops": -0.1, "time": -0.1, "decide": 0.01},
    "window 30": FULL | {"accuracy": 85.0},
    "size 1024": FULL | {"accuracy": 85.0},
    "t0 0.5": FULL | {"accuracy": 85.0},
    "M 4": FULL | {"accuracy": 85.0},
}
SAVED_MEMORY = {"resnet50": 0.9, "vgg11": 0.6, "mobilenet_v2": 0.6}


def make_frames(
    kinds: Mapping[str, Mapping[str, float]],
    noise: float = 0.0,
    memory: Mapping[str, float] = SAVED_MEMORY,
    order: Iterable[int] = (1, 0, *range(2, LAYERS)),
) -> dict[str, pd.DataFrame]:
    """Return a frame of runs per table, and the frames "epochs" and "freeze_steps" of figure5.

    kinds: values of each method; methods that are missing equal full training.
    noise: relative size of the random changes. memory: share of memory that SmartFRZ saves.
    order: freezing order of the layers.
    """
    frames = {name: make_table(name, kinds, noise) for name in TABLES}
    runs = frames["figure5"].to_dict("records")
    frames["epochs"] = pd.DataFrame(
        [line for run in runs for line in make_epochs(run, memory, noise)]
    )
    frames["freeze_steps"] = pd.DataFrame(
        [row for run in runs for row in make_freeze_steps(run, order, noise)]
    )
    return frames


def make_table(name: str, kinds: Mapping[str, Mapping[str, float]], noise: float) -> pd.DataFrame:
    pairs, methods = TABLES[name]
    rows = []
    for model, dataset in pairs:
        for method in methods:
            kind = kinds.get(method, FULL)
            for seed in range(SEEDS):
                draw = random.Random(f"{model}{dataset}{method}{seed}")
                about = draw.choice([-1, 1]) * noise
                time = 100 * (1 - kind["time"]) * (1 + about)
                share = max(0.0, kind["decide"] * (1 + 0.9999 * about / (noise or 1) * 20 * noise))
                accuracy = kind["accuracy"] + 40 * about
                outcomes = make_evaluation(accuracy, seed)
                contributions = compute_contributions("accuracy", outcomes.correct, None)
                scores = SampleScores(contributions, outcomes.number_sources())
                rows.append({
                    "id": f"{name}{model}{dataset}{method}{seed}",
                    "cell": f"{model}{dataset}{method}", "model": model, "dataset": dataset,
                    "method": method, "seed": seed, "state": "done", "device": "made up",
                    "resumed": False, "slowed": False, "reason": "",
                    "accuracy": accuracy, "samples": partial(replace, scores),
                    "paper_total": 1e12 * (1 - kind["flops"]) * (1 + 3 * about),
                    "time_s": time, "decide_s": share * time, "cuda_allocated": math.nan,
                    "cpu_s": 0.9 * time, "cpu_decide_s": 0.9 * share * time,
                })  # fmt: skip
    return pd.DataFrame(rows)


def make_epochs(
    run: Mapping[Hashable, Any], memory: Mapping[str, float], noise: float
) -> Iterator[dict[Hashable, Any]]:
    draw = random.Random(run["id"] + "memory")
    saved = memory[run["model"]] if run["method"] == "smartfrz" else 0.0
    for epoch in (1, 2):
        share = 1 - saved * (epoch == 2)
        about = 1 + draw.choice([-1, 1]) * 4 * noise
        yield {**{k: run[k] for k in ("model", "dataset", "method", "seed")},
               "epoch": epoch, "memory_bytes": 1e8 * share * about}  # fmt: skip


def make_freeze_steps(
    run: Mapping[Hashable, Any], order: Iterable[int], noise: float
) -> Iterator[dict[Hashable, Any]]:
    draw = random.Random(run["id"] + "moments")
    places = list(order)
    if noise:
        draw.shuffle(places)
    for layer in range(LAYERS):
        yield {**{k: run[k] for k in ("model", "dataset", "method", "seed")},
               "layer": layer, "frozen_at": float(places[layer])}  # fmt: skip
