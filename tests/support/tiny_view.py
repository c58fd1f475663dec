"""View of a real network of three layers, with one BatchNorm; the last layer is the head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from bench.costs.flops import count_flops
from bench.layers.discovery import find_layers
from bench.strategy_api.view import View


def build_tiny_net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3),
        nn.Flatten(),
        nn.Linear(4 * 16, 5),
    )


def build_tiny_view(model: nn.Module, artifacts: dict[str, Path], **changes: Any) -> View:
    layers = find_layers(model, (torch.zeros(2, 3, 8, 8),))
    images = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    values: dict[str, Any] = {
        "layers": layers,
        "flops": count_flops(model, layers, (torch.zeros(1, 3, 8, 8),)),
        "seed": 0,
        "device": torch.device("cpu"),
        "base_lr": 0.1,
        "total_steps": 100,
        "steps_per_epoch": 10,
        "samples_per_step": 4,
        "budget": None,
        "artifacts": artifacts,
        "task": ("tiny", "noise"),
        "_model": model,
        "_probe": lambda n: (images[:n],),
        "_probe_loss": lambda net, n: F.cross_entropy(net(images[:n]), torch.arange(n) % 5),
    }
    return View(**{**values, **changes})


def train_a_step(view: View, seed: int) -> None:
    """Change the weights of the active layers slightly and in place, as a training step does."""
    generator = torch.Generator().manual_seed(seed)
    view.step += 1
    view.lr = view.base_lr * (1 - view.step / view.total_steps)
    with torch.no_grad():
        for layer in view.layers:
            for name in layer.parameters if layer.index not in view.frozen else ():
                weight: torch.Tensor = view._model.get_parameter(name)
                weight += view.lr * 0.1 * torch.randn(weight.shape, generator=generator)
