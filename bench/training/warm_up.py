"""The first steps of a process on a GPU, made before the train clock runs.

They load libraries and kernels and open handles, for tenths of a second or more, and would be
charged to whichever run happens to be a worker's first.
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


def warm_up(
    model: nn.Module,
    optimizer_of: Callable[[nn.Module], torch.optim.Optimizer],
    inputs: Inputs,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> None:
    """Train a copy of the model for two steps; of the model itself nothing moves, nor any random
    stream. No real step is made for free: labels are made up, and the copy is thrown away.
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
