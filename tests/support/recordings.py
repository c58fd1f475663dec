"""Synthetic recordings for tests of the predictor's training."""

from __future__ import annotations

import torch

from strategies.smartfrz.training.corpus import Recording, RunOrigin


def make_recording(run: str, family: str, task: str, seed: int) -> Recording:
    """Return a recorded run whose layers converge at random times.

    Before a layer converges, its weights and its CKA change. Afterwards they hardly change.
    """
    generator = torch.Generator().manual_seed(seed)
    snapshots, layers = 31, 4
    progress = torch.linspace(0, 1, snapshots, dtype=torch.float64)
    settles = torch.rand(layers, generator=generator) * 0.8 + 0.1
    speed = torch.where(progress[:, None] < settles, 0.1, 1e-4).float()
    steps = torch.randn(snapshots, layers, 32, generator=generator) * speed[:, :, None]
    start = torch.randn(1, layers, 32, generator=generator)
    signs = torch.where(torch.arange(snapshots) % 2 == 0, 1.0, -1.0)[:, None]
    return Recording(
        RunOrigin(run, family, task),
        {
            "snapshots": start + steps.cumsum(0),
            "progress": progress,
            "rate": 1 - progress,
            "cka": (0.9 + signs * speed)[::3].double(),
            "probes": progress[::3].contiguous(),
        },
    )
