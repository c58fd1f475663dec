"""Synthetic results in the format of real ones. No value here was measured."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.results.decisions import FILE
from bench.results.evaluation_file import SampleOutcomes, write_evaluation

STANDS_FOR = {
    "resnet50": "laptop_resnet",
    "vgg11": "laptop_vgg11",
    "mobilenet_v2": "laptop_mobilenet_v2",
    "deit_tiny": "laptop_deit",
    "cifar10": "digits10",
    "cifar100": "symbols100",
}
PROFILE = {
    "name": "laptop",
    "stands_for": STANDS_FOR,
    "device": "a made-up CPU, 1 thread",
    "predictor": "made up",
    "sources": ["glyphs"],
    "departures": "SmartFRZ departs from its paper: made up.",
    "changes": {},
    "asked": "table2 --profile laptop",
}
MODELS = ("resnet50", "vgg11", "mobilenet_v2", "deit_tiny")
DATASETS = ("cifar10", "cifar100")
METHODS = ("full", "linear", "autofreeze", "smartfrz")
# Shares of FLOPs and of time saved, and accuracy lost in percentage points.
EFFECTS = {
    "full": (0.0, 0.0, 0.0),
    "linear": (0.40, 0.30, 0.6),
    "autofreeze": (0.30, 0.15, 0.3),
    "smartfrz": (0.41, 0.31, 0.0),
    "probe": (0.60, 0.55, 9.0),
    "random": (0.41, 0.30, 2.5),
    "shortened": (0.41, 0.40, 0.7),
}
SAMPLES = 5000
FULL_FLOPS, FULL_SECONDS, LAYERS, EPOCHS, STEPS = 2.4e12, 40.0, 14, 10, 60


def list_runs(
    models: Iterable[str] = MODELS,
    datasets: Iterable[str] = DATASETS,
    methods: Iterable[str] = METHODS,
    seeds: int = 5,
) -> list[dict[str, Any]]:
    """Return the runs of a table. Their ids contain model, data set, method and seed."""
    return [
        {
            "id": f"{model}-{dataset}-{method}-{seed}",
            "cell": f"{model}-{dataset}-{method}",
            "seed": seed,
            "model": model,
            "dataset": dataset,
            "method": method,
        }
        for model in models
        for dataset in datasets
        for method in methods
        for seed in range(seeds)
    ]


def make_result(run: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the contents of a run's result.json. `changes` replaces top-level keys."""
    draw = random.Random(run["id"])
    common = random.Random(f"{run['model']}{run['dataset']}{run['seed']}").gauss(0, 0.3)
    flops, time, loss = EFFECTS.get(run["method"], (0.2, 0.1, 0.2))
    flops *= draw.uniform(0.97, 1.03)
    total = FULL_FLOPS * (1 - flops)
    seconds = FULL_SECONDS * (1 - time) * draw.uniform(0.98, 1.02)
    decide = 0.0 if run["method"] == "full" else 0.4
    steps = EPOCHS * STEPS
    return {
        "id": run["id"],
        "cell": run["cell"],
        "status": "done",
        "reason": "",
        "accuracy": 90 - loss + common + draw.gauss(0, 0.15) - 8 * (run["dataset"] == "cifar100"),
        "metric": "accuracy",
        "eval_count": SAMPLES,
        "steps": steps,
        "steps_per_epoch": STEPS,
        "budget": None,
        "flops": {
            "paper": {
                "forward": FULL_FLOPS / 3,
                "backward": total - FULL_FLOPS / 3,
                "total": total,
            },
            "exact": {
                "forward": FULL_FLOPS / 3,
                "backward": 0.97 * total - FULL_FLOPS / 3,
                "total": 0.97 * total,
            },
            "executed": {
                "forward": FULL_FLOPS / 3,
                "backward": 0.99 * total - FULL_FLOPS / 3,
                "total": 0.99 * total,
            },
            "decide": decide * 1e9,
            "full_paper": FULL_FLOPS,
            "full_exact": 0.97 * FULL_FLOPS,
        },
        "clocks": _make_clocks(seconds - decide, decide),
        "cpu": _make_clocks(seconds - decide, decide),
        "resumed": False,
        "memory": {
            "saved_bytes_peak": 30 << 20,
            "saved_bytes_mean": 20e6,
            "state_bytes_peak": 12 << 20,
            "cuda_allocated_peak": None,
            "cuda_reserved_peak": None,
        },
        "layers": [_make_layer(i, run["method"], draw, steps) for i in range(LAYERS)],
        "freeze_states": [],
    } | changes


def make_evaluation(score: float, seed: int, metric: str = "accuracy") -> SampleOutcomes:
    """Return the outcomes of SAMPLES samples whose score is as close to `score` as possible.

    The errors are spread evenly over two sources, so that the draw of the samples adds nearly no
    variance. Each seed has a fold of its own.
    score: in percent. metric: "accuracy", or any other value for the Matthews correlation.
    """
    share = score / 100 if metric == "accuracy" else (1 + score / 100) / 2
    correct = np.arange(SAMPLES) < round(share * SAMPLES)
    sides = np.arange(SAMPLES) % 2
    if metric == "accuracy":
        return SampleOutcomes(correct, None, 2 * seed + sides[:, None], seed)
    return SampleOutcomes(
        correct, sides == 1, 2 * seed + (np.arange(SAMPLES) // 2 % 2)[:, None], seed
    )


def write_run(results: Path, run: Mapping[str, Any], **changes: Any) -> Path:
    """Write the folder of a finished run and return its path."""
    folder: Path = results / "runs" / run["id"]
    folder.mkdir(parents=True, exist_ok=True)
    device, threads = changes.pop("device", "a made-up CPU"), changes.pop("threads", 1)
    environment = {"device": device, "threads": threads, "commit": "0" * 40}
    (folder / "spec.json").write_text(json.dumps(dict(run)))
    (folder / "environment.json").write_text(json.dumps(environment))
    write_outcome(folder, run, make_result(run, **changes))
    return folder


def write_outcome(folder: Path, run: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Write result.json, the decisions and the evaluation samples' outcomes of a finished run."""
    (folder / "result.json").write_text(json.dumps(result))
    (folder / FILE).write_text("".join(json.dumps(line) + "\n" for line in _decide(result)))
    if isinstance(result["accuracy"], float | int) and math.isfinite(result["accuracy"]):
        metric = result["metric"]
        write_evaluation(folder, make_evaluation(result["accuracy"], run["seed"], metric))


def _decide(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the decisions that froze the layers of a result, with scores above a threshold."""
    frozen = [layer for layer in result["layers"] or () if layer["frozen_at_step"] is not None]
    return [
        {
            "step": layer["frozen_at_step"],
            "epoch": layer["frozen_at_step"] / result["steps_per_epoch"],
            "layer": layer["index"],
            "name": layer["name"],
            "score": 0.95,
            "threshold": 0.9,
            "freeze": True,
        }
        for layer in sorted(frozen, key=lambda layer: layer["frozen_at_step"])
    ]


def _make_clocks(train: float, decide: float) -> dict[str, float]:
    return {"train": train, "decide": decide, "evaluate": 1.0, "prepare": 2.0,
            "whole": train + decide + 3.0}  # fmt: skip


def _make_layer(index: int, method: str, draw: random.Random, steps: int) -> dict[str, Any]:
    frozen = None
    if method != "full" and index < LAYERS - 1:
        moment = {"linear": 0.5 + 0.5 * index / LAYERS, "autofreeze": 0.2 + 0.06 * index}
        share = moment.get(method, draw.uniform(0.2, 1.1)) * draw.uniform(0.95, 1.05)
        frozen = int(share * steps) if share < 1 else None
    return {"index": index, "name": f"layer{index}", "parameters": 1000,
            "flops_forward": 1e6, "frozen_at_step": frozen}  # fmt: skip
