"""Interval sums contain every gradient of a layer, even if some steps compute none for it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from strategies.gradients.interval_sums import IntervalSums
from tests.support.hand_view import HandView


class BranchedView(HandView):
    """View of linear layers, of which a step may skip some."""

    def active_parameters(self) -> list[tuple[int, nn.Parameter]]:
        return [(i, p) for i in self.active for p in self.parts[i].parameters()]


def test_layers_that_a_step_skips_keep_their_sums() -> None:
    parts = [nn.Linear(3, 3) for _ in range(4)]
    view = BranchedView([1] * 4, parts=parts)
    sums = IntervalSums(range(3))
    expected = dict.fromkeys(range(3), 0.0)
    for skipped in (0, 1, 2, 1, None):
        for layer, part in enumerate(parts[:3]):
            for parameter in part.parameters():
                parameter.grad = None if layer == skipped else torch.full_like(parameter, layer + 1)
            expected[layer] += 0.0 if layer == skipped else layer + 1
        sums.add(view)
    norms = sums.compute_norms(1)
    assert norms == {layer: pytest.approx(12 * value) for layer, value in expected.items()}
