"""Priming of a GPU process before the train clock starts.

The first steps of a process load CUDA libraries and kernels, which takes tenths of a second or
more. Without priming, this time would be charged to the first run of each worker.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bench.layers.activations import get_logits
from bench.layers.discovery import Inputs
from bench.layers.freezing import copy_thawed

STEPS = 2


def prime_gpu(
    model: nn.Module,
    optimizer_of: Callable[[nn.Module], torch.optim.Optimizer],
    inputs: Inputs,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> None:
    """Train a copy of the model for STEPS steps on artificial labels, then discard the copy.

    The model and the random streams do not change.
    """
    copied = copy_thawed(model)
    optimizer = optimizer_of(copied)
    devices = [x.device for x in inputs if x.is_cuda]
    with torch.random.fork_rng(devices):
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            with autocast():
                logits = get_logits(copied(*inputs)).flatten(0, -2)
                labels = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
                loss = F.cross_entropy(logits, labels)
            loss.backward()
            optimizer.step()
