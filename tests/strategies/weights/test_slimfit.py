"""SlimFit's decisions equal those of its rule, restated here."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from strategies.weights.slimfit import SlimFit
from tests.strategies.weights.moving_view import MovingView


def restate_movement(old: list[torch.Tensor], new: list[torch.Tensor]) -> float:
    """Return mean(|new − old| / |old|) over the nonzero old weights, computed in a plain loop."""
    ratios = [
        abs(float(b) - float(a)) / abs(float(a))
        for before, after in zip(old, new, strict=True)
        for a, b in zip(before.flatten(), after.flatten(), strict=True)
        if float(a)
    ]
    return sum(ratios) / len(ratios)


@settings(max_examples=120, deadline=None)
@given(
    layers=st.integers(2, 9),
    share=st.floats(0, 1),
    steps=st.integers(1, 25),
    seed=st.integers(0, 2**31),
)
def test_decisions_equal_the_rule(layers: int, share: float, steps: int, seed: int) -> None:
    view, strategy = MovingView(layers, steps, seed), SlimFit(share=share)
    strategy.start(view)
    moved = [math.inf] * (layers - 1)
    for step in range(1, steps + 1):
        old = copy.deepcopy(view.values)
        trained = set(view.active)
        view.move()
        strategy.observe(view)
        for layer in trained:
            moved[layer] = restate_movement(old[layer], view.values[layer])
        ranked = sorted(range(layers - 1), key=lambda layer: moved[layer])
        expected = set(ranked[: int(share * (layers - 1))])
        assert strategy.stages().due(step, 10)
        decisions = strategy.decide(view)
        assert {d.layer for d in decisions if d.freeze} == expected, step
        view.apply(decisions)
        if step == steps // 2:  # go on from the state, as a resumed run does
            resumed = SlimFit(share=share)
            resumed.start(view)
            resumed.load_state_dict(copy.deepcopy(strategy.state_dict()))
            strategy = resumed


def test_weights_that_are_zero_do_not_count_and_a_layer_of_zeros_trains() -> None:
    view, strategy = MovingView(3, 5, 0), SlimFit(share=0.5)
    strategy.start(view)
    view.values[0][0].zero_()
    view.values[0][1].zero_()
    strategy.start(view)
    view.values[0][0].add_(1.0)
    view.values[1][0].mul_(1.5)
    strategy.observe(view)
    assert strategy._moved[0] == torch.inf
    assert torch.isfinite(strategy._moved[1])
    view.values[1][0].ravel()[0] = 0.0
    strategy.start(view)
    view.values[1][0].ravel()[0] = 5.0
    view.values[1][0].ravel()[1] *= 2.0
    strategy.observe(view)
    assert strategy._moved[1] == 1 / 8  # one of its eight weights that were not zero has doubled


def test_a_layer_that_a_step_did_not_move_keeps_its_movement() -> None:
    """Check a step that leaves the weights unchanged.

    The learning rate may be 0, a GradScaler may skip the step, or LoRA's other factor may be 0.
    """
    view, strategy = MovingView(4, 9, 0), SlimFit(share=0.4)
    strategy.start(view)
    strategy.observe(view)
    assert strategy._moved.tolist() == [torch.inf] * 3  # nothing is known yet
    view.move()
    strategy.observe(view)
    before = strategy._moved.clone()
    assert 0 < before.min() <= before.max() < torch.inf
    strategy.observe(view)
    assert torch.equal(strategy._moved, before)


def test_a_layer_that_did_not_move_at_first_trains_on() -> None:
    view, strategy, frozen = MovingView(4, 9, 0), SlimFit(share=0.4), list[int]()
    view.speed[0] = 0.0
    strategy.start(view)
    for _ in range(4):
        view.move()
        strategy.observe(view)
        decisions = strategy.decide(view)
        frozen += [d.layer for d in decisions if d.freeze]
        view.apply(decisions)
    assert len(frozen) == 4
    assert 0 not in frozen


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(UserError, match=r"share = 1\.5 is not valid"):
        SlimFit(share=1.5)
