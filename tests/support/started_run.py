"""Runs that have taken a few steps, and bitwise comparison of all their tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from bench.results.run_folder import RunFolder
from bench.training.loop import prepare
from bench.training.run_state import RunState
from bench.training.training_step import take_step
from tests.support.tiny_runs import make_tiny_spec


def start_run(results: Path, steps: int = 2, **changes: Any) -> RunState:
    run = RunState(make_tiny_spec(**changes), results)
    folder = RunFolder(results, run.spec.id)
    folder.create()
    prepare(run, folder)
    for _ in range(steps):
        take_step(run)
    return run


def read_everything(run: RunState) -> list[torch.Tensor]:
    """Return copies of all weights, buffers, gradients, optimizer state and random states."""
    parameters = list(run.model.parameters())
    held = [*parameters, *run.model.buffers()]
    held += [p.grad for p in parameters if p.grad is not None]
    for state in run.optimizer.state.values():
        held += [value for value in state.values() if isinstance(value, torch.Tensor)]
    held.append(torch.get_rng_state())
    if run.device.type == "cuda":
        held.append(torch.cuda.get_rng_state(run.device))
    return [tensor.detach().clone() for tensor in held]


def are_equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a, b) for a, b in zip(one, other, strict=True)
    )
