"""Runs small enough for a test: a few steps of the laptop models on a few digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bench.contents import resolve
from bench.results import RunFolder, read_json
from bench.run import execute
from bench.spec import Spec

# What two runs with the same bits may differ in: clocks, and what follows from them.
CLOCKS = ("clocks", "cpu", "resumed")


def tiny(strategy: str = "full", **changes: Any) -> Spec:
    """A run of 2 epochs of 6 steps; every strategy freezes something within it."""
    options = {
        "autofreeze": {"M": 3, "N": 90},
        "linear": {"t0": 0.2},
        "random": {"saving": 0.3},
        "shortened": {"saving": 0.3},
        "at_once": {"saving": 0.3},
    }
    values: dict[str, Any] = {
        "model": "laptop_vgg11",
        "data": "digits10",
        "strategy": strategy,
        "options": options.get(strategy, {}),
        "epochs": 2,
        "resolution": 24,
        "train_limit": 192,
        "lr": 0.02,
        "weight_decay": 1e-3,
    }
    return resolve(Spec.from_dict({**values, **changes}), "laptop", changes.pop("files", None))


def made(spec: Spec, results: Path, **how: Any) -> dict[str, Any]:
    """Execute a run and return its result."""
    return execute(spec, results, **how)


def weights(spec: Spec, results: Path) -> dict[str, torch.Tensor]:
    """The kept weights of a done run."""
    from safetensors.torch import load_file

    return load_file(RunFolder(results, spec.id).model)


def essence(spec: Spec, results: Path) -> dict[str, Any]:
    """Everything a run recorded except its clocks."""
    folder = RunFolder(results, spec.id)
    result = {k: v for k, v in folder.result().items() if k not in CLOCKS}
    result["freeze_states"] = [
        {k: v for k, v in state.items() if k not in ("step_s_median", "compile_s")}
        for state in result["freeze_states"]
    ]
    epochs = (folder.path / "epochs.jsonl").read_text()
    lines = [line.partition('"train_s"')[0] for line in epochs.splitlines()]
    return {
        "spec": read_json(folder.path / "spec.json"),
        "result": result,
        "epochs": lines,
        "decisions": (folder.path / "decisions.jsonl").read_text(),
    }
