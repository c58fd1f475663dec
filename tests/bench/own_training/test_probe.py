"""Tests of probes: order of the inputs, device, copies and labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.errors import UserError
from bench.own_training.probe import ProbeSamples
from strategies.gradients.auto_rgn import AutoRgn

META = torch.device("meta")  # the only second device of every machine


def test_inputs_and_labels_move_to_the_device_of_the_model() -> None:
    model = nn.Linear(3, 2, device=META)
    probe = (torch.ones(4, 3), torch.zeros(4, dtype=torch.int64))
    samples = ProbeSamples(model, AutoRgn(), "auto_rgn", probe, probe[0], F.cross_entropy)
    (inputs,) = samples.take(3)
    assert (inputs.device, inputs.shape) == (META, (3, 3))
    assert samples.compute_loss(model, 3).device == META
    seen: list[torch.device] = []

    def watch(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        seen.append(labels.device)
        return F.cross_entropy(output, labels)

    ProbeSamples(model, AutoRgn(), "auto_rgn", probe, probe[0], watch).compute_loss(model, 2)
    assert seen == [META]


def test_a_strategy_gets_copies_of_the_samples() -> None:
    """Change the samples in place, as a strategy may. The user's data must not change."""
    inputs = torch.ones(4, 3)
    probe = (inputs, torch.zeros(4, dtype=torch.int64))
    samples = ProbeSamples(nn.Linear(3, 2), AutoRgn(), "auto_rgn", probe, probe[0], F.cross_entropy)
    samples.take(4)[0].sub_(1)
    assert torch.equal(inputs, torch.ones(4, 3))


class Weighted(nn.Module):
    """Classifier of pixels that are multiplied by weights of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, pixels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(pixels * weights - weights))


def make_samples(probe: object, example: object) -> ProbeSamples:
    return ProbeSamples(Weighted(), AutoRgn(), "auto_rgn", probe, example, F.cross_entropy)


def test_inputs_with_names_are_taken_in_the_order_of_the_example() -> None:
    pixels, weights, labels = torch.ones(4, 3), torch.zeros(4, 3), torch.zeros(4)
    example = {"pixels": pixels, "weights": weights}
    probe = ({"labels": labels, "weights": weights, "pixels": pixels}, labels)
    first, second = make_samples(probe, example).take(4)
    assert torch.equal(first, pixels)
    assert torch.equal(second, weights)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"pixels": torch.ones(4, 3)}, "holds the inputs pixels, but example holds the inputs"),
        ((torch.ones(4, 3), torch.ones(4, 3)), "holds inputs without names, but example holds"),
    ],
)
def test_inputs_with_other_names_than_the_example_are_rejected(inputs: object, said: str) -> None:
    example = {"pixels": torch.ones(2, 3), "weights": torch.ones(2, 3)}
    with pytest.raises(UserError, match=said):
        make_samples((inputs, torch.zeros(4)), example)
    with pytest.raises(UserError, match="give both the same inputs"):
        make_samples((example, torch.zeros(2)), inputs)


@pytest.mark.parametrize("labels", [[0, 1, 0, 1], np.array([0, 1, 0, 1])], ids=["list", "numpy"])
def test_labels_may_be_anything_that_becomes_a_tensor(labels: object) -> None:
    inputs = torch.ones(4, 3)
    samples = ProbeSamples(
        nn.Linear(3, 2), AutoRgn(), "auto_rgn", (inputs, labels), inputs, F.cross_entropy
    )
    assert samples.compute_loss(nn.Linear(3, 2), 4).isfinite()


def test_labels_that_are_no_tensor_are_rejected() -> None:
    inputs = torch.ones(2, 3)
    with pytest.raises(UserError, match="the labels in probe are no tensor"):
        ProbeSamples(
            nn.Linear(3, 2), AutoRgn(), "auto_rgn", (inputs, ["a", "b"]), inputs, F.cross_entropy
        )
