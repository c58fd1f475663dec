"""Runs that are small enough for tests: a laptop model, 192 digits and 12 steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.layers.activations import get_logits
from bench.planning.run_inputs import resolve_inputs
from bench.results.comparison import read_reproducible as recorded_by
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from bench.training.loop import execute
from bench.training.run_state import RunState
from tests.support.device import DEVICE

# Options with which the strategies freeze within a tiny run.
TINY_OPTIONS: dict[str, dict[str, Any]] = {
    "autofreeze": {"M": 3, "N": 90},
    "linear": {"t0": 0.2},
    "random": {"saving": 0.3},
    "shortened": {"saving": 0.3},
    "at_once": {"saving": 0.3},
    "prefix": {"saving": 0.3},
    "spfde": {"saving": 0.3},
    "composer": {"freeze_start": 0.0},
    "auto_rgn": {"cut": 0.3, "samples": 16},
    "egeria": {"samples": 16, "window": 2, "patience": 1, "tolerance": 1.0, "bootstrap": 1.0},
    "simfreeze": {"interval": 2, "samples": 16, "tolerance": 0.1},
    "greentrainer": {"interval": 1, "samples": 16},
    "lisa": {"K": 2},
    "badam": {"K": 2},
    "apf": {"interval": 1, "threshold": 0.9},
}


def make_tiny_spec(strategy: str = "full", **changes: Any) -> Spec:
    """Return a spec of 2 epochs of 6 steps, with options that make the strategies freeze."""
    values: dict[str, Any] = {
        "model": "laptop_vgg11",
        "data": "digits10",
        "strategy": strategy,
        "options": TINY_OPTIONS.get(strategy, {}),
        "epochs": 2,
        "resolution": 24,
        "train_limit": 192,
        "lr": 0.02,
        "weight_decay": 1e-3,
        "device": DEVICE.type,
    }
    return resolve_inputs(Spec.from_dict({**values, **changes}), "laptop")


def execute_run(spec: Spec, results: Path, **how: Any) -> dict[str, Any]:
    """Execute a run and return its result."""
    return execute(spec, results, **how)


def load_weights(spec: Spec, results: Path) -> dict[str, torch.Tensor]:
    """Return the saved weights of a finished run."""
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = load_file(RunFolder(results, spec.id).model)
    return tensors


def predict_samples(spec: Spec, results: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return predictions and labels of the evaluation samples, computed from the saved weights.

    One process computes them, also for a run with replicas.
    """
    run = RunState(spec.with_changes(replicas=1), results)
    run.model.load_state_dict(load_weights(spec, results))
    run.model.eval()
    with torch.inference_mode():
        batches = [
            (get_logits(run.model(*inputs)).argmax(-1), labels)
            for inputs, labels in run.batches.evaluation()
        ]
    predicted, labels = (
        torch.cat([part.flatten() for part in parts]).cpu() for parts in zip(*batches, strict=True)
    )
    return predicted.numpy(), labels.numpy()


def load_essence(spec: Spec, results: Path) -> dict[str, Any]:
    """Return the reproducible part of a run's record, without timings, energy and CUDA memory."""
    return recorded_by(RunFolder(results, spec.id).path)
