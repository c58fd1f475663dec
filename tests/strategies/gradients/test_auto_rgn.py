"""Auto-RGN's decisions and learning rates equal those of its rule, restated here."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from bench.training.optimizer import compute_lr_factor, compute_warmup_factor
from strategies.gradients.auto_rgn import AutoRgn
from tests.support.probed_view import ProbedView, draw_arrays
from tests.support.tiny_view import build_tiny_net, build_tiny_view


def build_view(layers: int, **values: object) -> ProbedView:
    return ProbedView([1] * layers, total_steps=30, steps_per_epoch=3, **values)


def restate(view: ProbedView) -> np.ndarray:
    """Return ‖g‖ / ‖w‖ of each layer divided by the largest ratio, (layers,).

    The norms cover all parameters of a layer, in float64.
    """
    ratios = np.array([
        np.linalg.norm(np.concatenate(view.probed[i]).astype(float))
        / np.linalg.norm(np.concatenate(view.values[i]).astype(float))
        for i in range(len(view.layers))
    ])  # fmt: skip
    return ratios / ratios.max()


@settings(max_examples=200, deadline=None)
@given(
    layers=st.integers(2, 30),
    cut=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_decisions_and_rates_equal_the_rule(layers: int, cut: float, seed: int) -> None:
    view, numbers = build_view(layers), np.random.default_rng(seed)
    strategy = AutoRgn(cut=cut)
    strategy.start(view)
    for step in range(31):
        view.step = step
        if strategy.stages().due(step, 3):
            assert step % 3 == 0
            view.values, view.probed = (draw_arrays(layers, numbers, 1.0) for _ in range(2))
            shares = restate(view)
            expected = {i for i in range(layers - 1) if shares[i] < cut}
            assert view.apply(strategy.decide(view)) == expected
        annealed = 0.1 * (1 + math.cos(math.pi * step / 30)) / 2
        assert strategy.learning_rates(view) == pytest.approx(annealed * shares, rel=1e-5)


def test_rates_are_set_before_every_epoch_but_not_after_the_last() -> None:
    strategy = AutoRgn()
    strategy.start(build_view(3))
    assert [s for s in range(31) if strategy.stages().due(s, 3)] == list(range(0, 30, 3))


def test_a_frozen_layer_thaws_when_its_gradient_grows() -> None:
    view, strategy = build_view(3), AutoRgn(cut=0.5)
    strategy.start(view)
    view.values = {i: [np.ones(4, "float32")] for i in range(3)}
    view.probed = {0: [np.full(4, 0.4)], 1: [np.full(4, 0.6)], 2: [np.ones(4)]}
    assert view.apply(strategy.decide(view)) == {0}
    assert strategy.learning_rates(view) == pytest.approx([0.04, 0.06, 0.1])
    view.probed = {0: [np.full(4, 3.0)], 1: [np.full(4, 2.0)], 2: [np.ones(4)]}
    assert view.apply(strategy.decide(view)) == frozenset()  # the head (1/3) never freezes
    assert strategy.learning_rates(view) == pytest.approx([0.1, 0.2 / 3, 0.1 / 3])


def test_layers_without_a_finite_ratio_train_at_the_full_rate() -> None:
    view, strategy = build_view(4), AutoRgn()
    strategy.start(view)
    view.values = {i: [np.full(2, float(i > 0))] for i in range(4)}
    view.probed = {i: [np.full(2, g)] for i, g in enumerate([1.0, np.nan, 2.0, 1.0])}
    assert view.apply(strategy.decide(view)) == frozenset()
    assert strategy.learning_rates(view) == pytest.approx([0.1, 0.1, 0.1, 0.05])
    view.probed = {i: [np.zeros(2)] for i in range(4)}
    assert view.apply(strategy.decide(view)) == frozenset()
    assert strategy.learning_rates(view) == pytest.approx([0.1] * 4)


def test_the_cost_is_that_of_the_probes_taken() -> None:
    view = build_tiny_view(build_tiny_net(), {})
    strategy = AutoRgn(samples=16)
    strategy.start(view)
    assert strategy.cost() == 0
    strategy.decide(view)
    strategy.decide(view)
    assert strategy.cost() == 2 * 16 * view.flops.exact().total
    small = build_view(3, probe_size=5)
    small.values = small.probed = {i: [np.ones(1)] for i in range(3)}
    strategy.start(small)
    strategy.decide(small)
    assert strategy.cost() == 5 * small.flops.exact().total


def test_a_resumed_run_has_the_same_rates() -> None:
    view = build_tiny_view(build_tiny_net(), {})
    whole, resumed = AutoRgn(samples=16), AutoRgn(samples=16)
    whole.start(view)
    whole.decide(view)
    resumed.start(view)
    resumed.load_state_dict(whole.state_dict())
    assert resumed.learning_rates(view) == whole.learning_rates(view)
    assert resumed.learning_rates(view) != [view.base_lr] * 3
    assert resumed.cost() == whole.cost() > 0


def test_the_model_does_not_change() -> None:
    view = build_tiny_view(build_tiny_net(), {})
    before = {k: v.clone() for k, v in view._model.state_dict().items()}
    strategy = AutoRgn(samples=16)
    strategy.start(view)
    strategy.decide(view)
    assert all(torch.equal(v, before[k]) for k, v in view._model.state_dict().items())


def test_options_out_of_range_are_refused() -> None:
    for options in ({"cut": -0.1}, {"cut": 1.1}, {"samples": 0}):
        with pytest.raises(UserError, match="is not valid; give"):
            AutoRgn(**options)


def test_with_warm_up_the_rates_are_shares_of_those_of_full_training() -> None:
    view = build_view(3, warmup_steps=6.0)
    strategy = AutoRgn()
    strategy.start(view)  # every share is 1 before the first decision
    for view.step in range(30):
        warm = compute_warmup_factor(view.step, 30, 0.2)
        full = 0.1 * compute_lr_factor(view.step, 30, 0.2)
        assert [warm * r for r in strategy.learning_rates(view)] == pytest.approx([full] * 3)
