"""Tests of probes: a probe on another device moves to the device of the model when it is taken."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from bench.own_training.probe import ProbeSamples
from strategies.gradients.auto_rgn import AutoRgn

META = torch.device("meta")  # the only second device of every machine


def test_inputs_and_labels_move_to_the_device_of_the_model() -> None:
    model = nn.Linear(3, 2, device=META)
    probe = (torch.ones(4, 3), torch.zeros(4, dtype=torch.int64))
    samples = ProbeSamples(model, AutoRgn(), "auto_rgn", probe, F.cross_entropy)
    (inputs,) = samples.take(3)
    assert (inputs.device, inputs.shape) == (META, (3, 3))
    assert samples.compute_loss(model, 3).device == META
    seen: list[torch.device] = []

    def watch(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append(labels.device)
        return F.cross_entropy(output, labels)

    ProbeSamples(model, AutoRgn(), "auto_rgn", probe, watch).compute_loss(model, 2)
    assert seen == [META]


def test_a_strategy_gets_copies_of_the_samples() -> None:
    """Change the samples in place, as a strategy may. The user's data must not change."""
    inputs = torch.ones(4, 3)
    probe = (inputs, torch.zeros(4, dtype=torch.int64))
    samples = ProbeSamples(nn.Linear(3, 2), AutoRgn(), "auto_rgn", probe, F.cross_entropy)
    samples.take(4)[0].sub_(1)
    assert torch.equal(inputs, torch.ones(4, 3))
