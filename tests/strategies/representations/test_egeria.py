"""Egeria's decisions on random traces equal those of its rule, restated here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from strategies.representations.egeria import Egeria
from strategies.representations.similarity import compute_plasticity
from tests.support.probed_view import ProbedView
from tests.support.tiny_view import build_tiny_net, build_tiny_view, train_a_step

EPOCHS, STEPS = 24, 4


def restate_plasticity(a: np.ndarray, r: np.ndarray) -> float:
    """Return the mean squared difference of the row-normalised Gram matrices of two outputs."""
    sides = [x.astype(float) @ x.astype(float).T for x in (a, r)]
    one, other = (s / np.sqrt((s**2).sum(1, keepdims=True)) for s in sides)
    return float(((one - other) ** 2).mean())


class Rule:
    """Egeria's rule, computed from all values so far. The strategy keeps only the last values."""

    def __init__(self, blocks: list[list[int]], window: int) -> None:
        self.blocks, self.window = blocks, window
        self.frozen_blocks, self.history, self.slopes = 0, [], []
        self.losses, self.epoch_means, self.freeze_lr = [], [], None

    def evaluate(self, step: int, lr: float, seen: list, reference: list) -> None:
        if self.freeze_lr and lr <= self.freeze_lr / 10:
            self.frozen_blocks, self.history, self.slopes, self.freeze_lr = 0, [], [], None
        elif self.bootstrapped() and self.frozen_blocks < len(self.blocks):
            layer = self.blocks[self.frozen_blocks][-1]
            self.history.append(restate_plasticity(seen[layer], reference[layer]))
            n = len(self.history)
            means = [np.mean(self.history[max(0, i + 1 - self.window) : i + 1]) for i in range(n)]
            if n >= self.window:
                last = means[-self.window :]
                self.slopes.append(abs(np.polyfit(np.arange(self.window), last, 1)[0]))
            low = [slope <= 0.2 * self.slopes[0] for slope in self.slopes]
            if len(low) >= 3 and all(low[-3:]):
                self.frozen_blocks, self.history, self.slopes = self.frozen_blocks + 1, [], []
                self.freeze_lr = self.freeze_lr or lr
        if step % STEPS == 0:
            self.epoch_means.append(np.mean(self.losses[-STEPS:]))

    def bootstrapped(self) -> bool:
        pairs = zip(self.epoch_means, self.epoch_means[1:], strict=False)
        return any(abs(a - b) / a < 0.1 for a, b in pairs)

    def frozen(self) -> set[int]:
        return {layer for block in self.blocks[: self.frozen_blocks] for layer in block}


@settings(max_examples=120, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    window=st.integers(2, 5),
    decay=st.floats(0.0, 0.8),
    seed=st.integers(0, 2**32 - 1),
)
def test_decisions_equal_the_rule(sizes: list[int], window: int, decay: float, seed: int) -> None:
    numbers = np.random.default_rng(seed)
    blocks = [i for i, size in enumerate(sizes) for _ in range(size)] + [len(sizes)]
    layers = len(blocks)
    view = ProbedView([1] * layers, blocks, total_steps=EPOCHS * STEPS, steps_per_epoch=STEPS)
    view.seen = [numbers.normal(size=(6, 4)) for _ in range(layers)]
    reference = list(view.seen)
    grouped = [[i for i, block in enumerate(blocks) if block == b] for b in range(len(sizes))]
    strategy, rule = Egeria(window=window), Rule(grouped, window)
    strategy.start(view)
    for step in range(1, EPOCHS * STEPS + 1):
        view.step, view.lr = step, 0.1 * 10 ** (-step / 60)
        change = 1 / step ** (1 + decay)
        view.seen = [o + change * numbers.normal(size=o.shape) for o in view.seen]
        loss = np.float32(np.exp(-step / 12) + 0.1 * numbers.random())
        view.loss = torch.tensor(loss)
        rule.losses.append(float(loss))
        strategy.observe(view)
        if not strategy.stages().due(step, STEPS):
            continue
        assert step % 2 == 0
        rule.evaluate(step, view.lr, view.seen, reference)
        assert view.apply(strategy.decide(view)) == rule.frozen()
        if step % STEPS == 0:
            reference = list(view.seen)


def test_decisions_on_a_trace_computed_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two epochs of bootstrap, then these values, with a window of 2 and a patience of 2:
    # plasticity          8   4   2    2    2    2     1   1   1   1
    # mean of two         8   6   3    2    2    2     1   1   1
    # slope                   2   3    1    0    0         0   0
    # 20 % of the first       .4  .4   .4   .4   .4        0   0
    values = iter([8.0, 4.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0])
    monkeypatch.setattr(
        "strategies.representations.egeria.compute_plasticity", lambda *_: next(values)
    )
    view = ProbedView([1] * 3, steps_per_epoch=2, loss=torch.tensor(1.0))
    view.seen = [np.ones((2, 2))] * 3
    strategy, frozen = Egeria(window=2, patience=2), []
    strategy.start(view)
    for step in range(1, 15):
        view.step = step
        strategy.observe(view)
        frozen.append(sorted(view.apply(strategy.decide(view))))
    assert frozen == [[]] * 9 + [[0]] * 3 + [[0, 1]] * 2
    view.lr = 0.0101  # the first freeze was at 0.1
    assert not strategy.decide(view)
    view.lr = 0.01
    assert view.apply(strategy.decide(view)) == frozenset()


def test_a_falling_loss_keeps_the_bootstrap_phase() -> None:
    view = ProbedView([1] * 3, steps_per_epoch=1)
    view.seen = [np.ones((2, 2))] * 3
    strategy = Egeria()
    strategy.start(view)
    for step in range(1, 20):
        view.step, view.loss = step, torch.tensor(0.89**step)
        strategy.observe(view)
        strategy.decide(view)
    assert strategy.cost() == 0
    view.loss = view.loss * 0.91
    strategy.observe(view)
    strategy.decide(view)
    strategy.decide(view)
    assert strategy.cost() > 0


@pytest.mark.parametrize("loss", [2.0, -2.0])
def test_a_settled_loss_of_either_sign_ends_the_bootstrap_phase(loss: float) -> None:
    view = ProbedView([1] * 3, steps_per_epoch=1, loss=torch.tensor(loss))
    view.seen = [np.ones((2, 2))] * 3
    strategy = Egeria()
    strategy.start(view)
    for view.step in range(1, 4):
        strategy.observe(view)
        strategy.decide(view)
    assert strategy.cost() > 0


def test_plasticity_is_zero_for_outputs_that_differ_by_rotation_and_scale() -> None:
    numbers = np.random.default_rng(0)
    a, r = (torch.tensor(numbers.normal(size=(5, 3))) for _ in range(2))
    turn = torch.linalg.qr(torch.tensor(numbers.normal(size=(3, 3)))).Q
    assert compute_plasticity(a, 2 * a @ turn) == pytest.approx(0, abs=1e-20)
    assert compute_plasticity(a, r) == pytest.approx(restate_plasticity(a.numpy(), r.numpy()))
    assert compute_plasticity(a, r) > 0.01


def test_the_cost_is_that_of_two_forward_passes_and_kernels() -> None:
    view, strategy = train(Egeria(samples=16, bootstrap=1.0), 45)
    kernels = 2 * 2 * 16 * 16 * 4 * 36
    assert view.frozen == frozenset()
    assert strategy.cost() == 5 * (2 * 16 * view.flops.exact().forward + kernels)


def train(strategy: Egeria, steps: int) -> tuple:
    """Start a strategy, and train a tiny network with it for some steps."""
    view = build_tiny_view(build_tiny_net(), {})
    view.loss = torch.tensor(1.0)
    strategy.start(view)
    continue_training(view, strategy, steps)
    return view, strategy


def continue_training(view: object, strategy: Egeria, steps: int) -> list:
    decisions = []
    for _ in range(steps):
        train_a_step(view, view.step)
        strategy.observe(view)
        if strategy.stages().due(view.step, view.steps_per_epoch):
            decisions.append(strategy.decide(view))
    return decisions


def test_a_resumed_run_decides_alike() -> None:
    options = {"samples": 16, "window": 6, "tolerance": 1.0, "patience": 1}
    view, whole = train(Egeria(**options), 43)
    resumed = Egeria(**options)
    other = build_tiny_view(build_tiny_net(5), {})
    resumed.start(other)
    resumed.load_state_dict(whole.state_dict())
    other._model.load_state_dict(view._model.state_dict())
    other.step, other.loss, other.frozen = view.step, view.loss, view.frozen
    expected = continue_training(view, whole, 40)
    assert continue_training(other, resumed, 40) == expected
    assert any(decision.freeze for stage in expected for decision in stage)
    assert resumed.cost() == whole.cost() > 0


def test_only_one_snapshot_is_kept() -> None:
    view, strategy = train(Egeria(samples=16), 25)
    assert strategy.state_dict()["reference"]["step"] == 20
    assert view.count_snapshot_bytes() == view.snapshot().bytes


def test_options_out_of_range_are_refused() -> None:
    bad = [{"evaluations": 0}, {"samples": 1}, {"window": 1}, {"tolerance": 1.1}]
    for options in [*bad, {"patience": 0}, {"bootstrap": -0.1}]:
        with pytest.raises(UserError, match="is not valid; give"):
            Egeria(**options)
