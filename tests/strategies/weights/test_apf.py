"""APF's decisions for layers equal those of its rule, restated here."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from strategies.weights.apf import APF
from tests.strategies.weights.moving_view import MovingView


class Restated:
    """APF's rule for layers, computed with a Python number for each scalar weight."""

    def __init__(self, view: MovingView, alpha: float, threshold: float) -> None:
        self.alpha, self.limit = alpha, threshold
        count = len(view.values) - 1
        self.old = [self.read(view, layer) for layer in range(count)]
        self.mean = [[0.0] * len(old) for old in self.old]
        self.size = [[0.0] * len(old) for old in self.old]
        self.period, self.left = [0] * count, [0] * count

    def read(self, view: MovingView, layer: int) -> list[float]:
        """Return all weights of a layer as numbers."""
        return [float(x) for tensor in view.values[layer] for x in tensor.flatten()]

    def end_round(self, view: MovingView) -> tuple[set[int], float]:
        """End a round, and return the layers that are frozen in the next round.

        Also return the smallest distance between the effective perturbation P of a layer and the
        threshold.
        """
        margin = 1.0
        for layer in range(len(self.left)):
            if self.left[layer]:
                self.left[layer] -= 1
                continue
            new, ratios = self.read(view, layer), []
            for i, value in enumerate(new):
                change = value - self.old[layer][i]
                self.mean[layer][i] = self.alpha * self.mean[layer][i] + (1 - self.alpha) * change
                self.size[layer][i] = self.alpha * self.size[layer][i] + (1 - self.alpha) * abs(
                    change
                )
                size = self.size[layer][i]
                ratios += [abs(self.mean[layer][i]) / size] if size else []
            self.old[layer] = new
            p = sum(ratios) / len(ratios)
            margin = min(margin, abs(p - self.limit))
            self.period[layer] = (
                self.period[layer] + 1 if p < self.limit else self.period[layer] // 2
            )
            self.left[layer] = self.period[layer]
        frozen = {layer for layer, left in enumerate(self.left) if left}
        if len(frozen) > 0.8 * len(self.left):
            self.limit /= 2
        return frozen, margin


@settings(max_examples=120, deadline=None)
@given(
    layers=st.integers(2, 7),
    interval=st.integers(1, 4),
    alpha=st.floats(0.5, 0.99),
    threshold=st.floats(0.05, 0.9),
    seed=st.integers(0, 2**31),
)
def test_decisions_equal_the_rule(
    layers: int, interval: int, alpha: float, threshold: float, seed: int
) -> None:
    view = MovingView(layers, 25 * interval, seed)
    strategy = APF(interval=interval, alpha=alpha, threshold=threshold)
    strategy.start(view)
    rule = Restated(view, alpha, threshold)
    for step in range(1, 25 * interval + 1):
        view.move()
        if not strategy.stages().due(step, 10):
            continue
        expected, margin = rule.end_round(view)
        if margin < 1e-4:  # float32 and float64 may judge such a P differently
            return
        decisions = strategy.decide(view)
        assert {d.layer for d in decisions if d.freeze} == expected, step
        assert {d.layer for d in decisions} == set(range(layers - 1))
        view.apply(decisions)
        if step == 10 * interval:  # go on from the state, as a resumed run does
            resumed = APF(interval=interval, alpha=alpha, threshold=threshold)
            resumed.start(view)
            resumed.load_state_dict(copy.deepcopy(strategy.state_dict()))
            strategy = resumed


def test_a_layer_that_goes_back_and_forth_freezes_longer_and_longer() -> None:
    view, strategy = MovingView(9, 400, 0), APF(interval=1, alpha=0.9, threshold=0.2)
    strategy.start(view)
    lengths, sign = [0], 1.0
    for _ in range(200):
        for layer in range(1, 8):  # these always move in one direction and never freeze
            for tensor in view.values[layer]:
                tensor += 0.1
        if 0 not in view.frozen:
            for tensor in view.values[0]:
                tensor += 0.1 * sign
            sign = -sign
        view.apply(strategy.decide(view))
        lengths = [*lengths[:-1], lengths[-1] + 1] if 0 in view.frozen else [*lengths, 0]
    assert view.frozen <= {0}
    periods = [length for length in lengths if length]
    assert periods[:4] == sorted(periods[:4])
    assert max(periods) >= 4
    assert torch.isfinite(strategy._mean[0]).all()


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match="interval = 0 is not valid"):
        APF(interval=0)
    with pytest.raises(UserError, match=r"alpha = 1\.1 is not valid"):
        APF(alpha=1.1)
