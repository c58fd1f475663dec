"""SimFreeze's decisions equal those of its rule, restated here with CKA from its formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from strategies.representations.simfreeze import SimFreeze
from tests.support.probed_view import ProbedView
from tests.support.tiny_view import build_tiny_net, build_tiny_view, train_a_step


def build_view(layers: int, **values: object) -> ProbedView:
    return ProbedView([1] * layers, total_steps=60, **values)


def restate_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Return linear CKA: ‖yᵀx‖² / (‖xᵀx‖ ‖yᵀy‖) of centred outputs."""
    x, y = x - x.mean(0), y - y.mean(0)
    return np.linalg.norm(y.T @ x) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))


@settings(max_examples=150, deadline=None)
@given(
    layers=st.integers(2, 8),
    interval=st.integers(1, 20),
    tolerance=st.sampled_from([0.001, 0.01, 0.1]),
    seed=st.integers(0, 2**32 - 1),
)
def test_decisions_equal_the_rule(layers: int, interval: int, tolerance: float, seed: int) -> None:
    numbers = np.random.default_rng(seed)
    view = build_view(layers)
    view.seen = [numbers.normal(size=(12, numbers.integers(1, 20))) for _ in range(layers)]
    initial, last, frozen = list(view.seen), {}, set()
    drift = 10.0 ** numbers.uniform(-3, 0, size=layers)
    strategy = SimFreeze(interval=interval, tolerance=tolerance)
    strategy.start(view)
    for step in range(1, 61):
        view.step = step
        view.seen = [
            o if i in frozen else o + drift[i] * numbers.normal(size=o.shape) / step
            for i, o in enumerate(view.seen)
        ]
        assert strategy.stages().due(step, 10) == (step % interval == 0)
        if step % interval:
            continue
        for i in set(range(layers - 1)) - frozen:
            now = restate_cka(initial[i], view.seen[i])
            if i in last and abs(now - last[i]) < tolerance * last[i]:
                frozen.add(i)
            last[i] = now
        assert view.apply(strategy.decide(view)) == frozen


def test_a_layer_freezes_after_two_equal_measurements_and_not_before() -> None:
    view, numbers = build_view(3), np.random.default_rng(1)
    view.seen = [numbers.normal(size=(8, 3)) for _ in range(3)]
    strategy = SimFreeze()
    strategy.start(view)
    assert view.apply(strategy.decide(view)) == frozenset()
    decisions = strategy.decide(view)
    assert [(d.layer, d.freeze, d.score) for d in decisions] == [(0, True, 0.0), (1, True, 0.0)]
    view.apply(decisions)
    spent = strategy.cost()
    assert strategy.decide(view) == ()
    assert strategy.cost() == spent  # nothing is measured when all layers are frozen


def test_a_layer_whose_output_does_not_vary_never_freezes() -> None:
    view = build_view(2)
    view.seen = [np.ones((8, 3)), np.ones((8, 3))]
    strategy = SimFreeze()
    strategy.start(view)
    for _ in range(3):
        assert view.apply(strategy.decide(view)) == frozenset()


def test_the_unbiased_estimator_gives_other_values() -> None:
    values = []
    for estimator in ("biased", "unbiased"):
        view = build_tiny_view(build_tiny_net(), {})
        strategy = SimFreeze(estimator=estimator, samples=16)
        strategy.start(view)
        train_a_step(view, 1)
        strategy.decide(view)
        values.append(strategy.state_dict()["previous"][:2])
    assert ((values[0] > 0.5) & (values[0] < 1)).all()
    assert ((values[0] - values[1]).abs() > 1e-9).all()


def test_the_cost_is_that_of_the_forward_passes_and_kernels() -> None:
    view = build_tiny_view(build_tiny_net(), {})
    strategy = SimFreeze(samples=16)
    strategy.start(view)
    one = 16 * view.flops.exact().forward + 2 * 16 * 16 * (4 * 36 + 4 * 16)
    assert strategy.cost() == one
    strategy.decide(view)
    view.frozen = frozenset({0})
    strategy.decide(view)
    assert strategy.cost() == 3 * one - 2 * 16 * 16 * 4 * 36


def test_a_resumed_run_decides_alike() -> None:
    view = build_tiny_view(build_tiny_net(), {})
    whole, resumed = SimFreeze(samples=16), SimFreeze(samples=16)
    whole.start(view)
    resumed.start(view)  # with the initial weights, as the harness does
    train_a_step(view, 1)
    whole.decide(view)
    resumed.load_state_dict(whole.state_dict())
    train_a_step(view, 2)
    assert resumed.decide(view) == whole.decide(view)
    assert resumed.cost() == whole.cost()


def test_the_model_does_not_change() -> None:
    view = build_tiny_view(build_tiny_net(), {})
    before = {k: v.clone() for k, v in view._model.state_dict().items()}
    strategy = SimFreeze(samples=16)
    strategy.start(view)
    strategy.decide(view)
    assert all(torch.equal(v, before[k]) for k, v in view._model.state_dict().items())


def test_what_it_cannot_do_is_refused() -> None:
    bad = ({"interval": 0}, {"tolerance": -1.0}, {"samples": 3}, {"estimator": "both"})
    for options in bad:
        with pytest.raises(UserError, match="is not valid; give"):
            SimFreeze(**options)
    with pytest.raises(UserError, match="at least 4 training samples, but there are 3"):
        SimFreeze().start(build_view(2, probe_size=3))
