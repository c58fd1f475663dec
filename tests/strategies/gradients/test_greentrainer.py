"""GreenTrainer's choices equal those of its rule, restated here by trying all sets of layers."""

from __future__ import annotations

import math
import random
from functools import partial
from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from strategies.gradients.greentrainer import GreenTrainer, choose_layers
from tests.support.probed_view import ProbedView, draw_arrays
from tests.support.tiny_view import build_tiny_net, build_tiny_view, train_a_step


def build_view(costs: list[int], epochs: int = 6) -> ProbedView:
    return ProbedView(costs, total_steps=3 * epochs, steps_per_epoch=3)


def list_subsets(layers: int) -> list[tuple[int, ...]]:
    every = range(layers)
    return list(chain.from_iterable(combinations(every, size) for size in range(layers + 1)))


def count_step(costs: list[int], trained: tuple[int, ...]) -> int:
    """Return the FLOPs of a step of a chain in which some layers and the head train."""
    first = min((*trained, len(costs) - 1))
    return sum(costs) + sum(costs[i] for i in (*trained, len(costs) - 1)) + sum(costs[first + 1 :])


def restate(view: ProbedView, before: dict, costs: list[int], rho: float) -> set[int]:
    """Return the set of layers with the largest importance among all sets that the limit allows.

    before: weights before the step. rho: limit as a share of the FLOPs of a full step.
    """
    limit = rho * count_step(costs, tuple(range(len(costs) - 1)))
    limit *= 1 + 1e-12  # a limit that is too low by the rounding of rho allows the set too
    importance = [
        -sum(
            float(np.sum(g.astype(float) * (w.astype(float) - old)))
            for g, w, old in zip(view.probed[i], view.values[i], before[i], strict=True)
        )
        for i in range(len(costs))
    ]
    allowed = [s for s in list_subsets(len(costs) - 1) if count_step(costs, s) <= limit]
    return set(max(allowed, key=lambda chosen: math.fsum(importance[i] for i in chosen)))


@settings(max_examples=150, deadline=None)
@example(costs=[2, 3, 1], share=1 - 2**-53, interval=1, seed=0)  # rho is just below 1
@given(
    costs=st.lists(st.integers(1, 50), min_size=2, max_size=9),
    share=st.floats(0.01, 1.0),
    interval=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
def test_choices_equal_the_rule(costs: list[int], share: float, interval: int, seed: int) -> None:
    least, full = (count_step(costs, tuple(s)) for s in ((), range(len(costs) - 1)))
    rho = min(1.0, (least + share * (full - least)) / full)
    view, numbers = build_view(costs), np.random.default_rng(seed)
    draw = partial(draw_arrays, len(costs), numbers, 0.5)
    view.values = draw()
    strategy, chosen = GreenTrainer(rho=rho, interval=interval), 0
    strategy.start(view)
    for step in range(19):
        view.step, before = step, view.values
        if step:
            view.values, view.probed = draw(), draw()
        if not strategy.stages().due(step, 3):
            continue
        assert step < 18
        frozen = view.apply(strategy.decide(view))
        if step % (3 * interval) == 0:
            assert frozen == frozenset()
        else:
            assert step % (3 * interval) == 1
            chosen += 1
            expected = restate(view, before, costs, rho)
            assert frozen == set(range(len(costs) - 1)) - expected
            assert view.flops.exact(frozen).total <= rho * full * (1 + 1e-9)
    assert chosen == math.ceil(6 / interval)


@settings(max_examples=300, deadline=None)
@given(
    gains=st.lists(st.integers(-3, 9), min_size=1, max_size=9),
    limit=st.integers(0, 60),
    draw=st.integers(0, 2**32 - 1),
)
def test_the_programme_finds_the_best_of_all_sets(gains: list[int], limit: int, draw: int) -> None:
    """Include costs of zero, equal costs and equal gains."""
    numbers = random.Random(draw)
    own = [numbers.randint(0, 12) for _ in gains]
    shared = sorted((numbers.randint(0, 40) for _ in gains), reverse=True)

    def cost(chosen: tuple[int, ...]) -> int:
        return sum(own[i] for i in chosen) + (shared[min(chosen)] if chosen else 0)

    best = max(sum(gains[i] for i in s) for s in list_subsets(len(gains)) if cost(s) <= limit)
    chosen = tuple(choose_layers(gains, own, shared, limit))
    assert cost(chosen) <= limit
    assert sum(gains[i] for i in chosen) == best
    assert all(gains[i] > 0 for i in chosen)


def test_a_hundred_layers_are_chosen_in_seconds() -> None:
    numbers = random.Random(1)
    own = [float(numbers.randint(1, 10**9)) for _ in range(100)]
    shared = [sum(own[i + 1 :]) for i in range(100)]
    gains = [numbers.random() for _ in own]
    chosen = choose_layers(gains, own, shared, 0.4 * 2 * sum(own))
    assert 20 < len(chosen) < 100


def test_everything_trains_if_the_limit_is_full_training() -> None:
    view, strategy = build_view([3, 1, 4, 1, 5]), GreenTrainer(rho=1.0)
    view.values = {i: [np.ones(2)] for i in range(5)}
    strategy.start(view)
    view.step, view.values = 1, {i: [np.full(2, 1.5)] for i in range(5)}
    view.probed = {i: [np.full(2, -1.0 - i)] for i in range(5)}
    decisions = strategy.decide(view)
    assert not any(d.freeze for d in decisions)
    assert [d.score for d in decisions] == pytest.approx([0.2, 0.4, 0.6, 0.8])  # the head has 1


def test_the_choice_waits_until_a_step_moves_a_weight() -> None:
    """Check first steps that move no weight. Their rate may be 0, or a GradScaler may skip them."""
    view, strategy = build_view([2, 2, 2]), GreenTrainer(rho=0.9)
    view.values = view.probed = {i: [np.ones(2)] for i in range(3)}
    strategy.start(view)
    due = []
    for view.step in range(1, 7):
        if view.step == 3:
            view.values = {i: [np.full(2, 1.0 - 0.1 * i)] for i in range(3)}
        if strategy.stages().due(view.step, 3):
            due.append(view.step)
            if view.step == 2:  # go on from the state, as a resumed training does
                state, strategy = strategy.state_dict(), GreenTrainer(rho=0.9)
                strategy.start(view)
                strategy.load_state_dict(state)
            view.apply(strategy.decide(view))
        assert view.frozen == (frozenset() if view.step in (1, 2, 6) else {0})
    assert due == [1, 2, 3, 6]  # all layers thaw at step 6
    assert strategy.cost() == 64 * view.flops.exact().total  # nothing is paid while it waits


def test_no_choice_follows_the_last_step() -> None:
    view, strategy = build_view([2, 2, 2], epochs=1), GreenTrainer(rho=1.0)
    view.values = {i: [np.ones(2)] for i in range(3)}
    strategy.start(view)
    for view.step in (1, 2):
        assert strategy.stages().due(view.step, 3)
        assert not strategy.decide(view)
    assert not strategy.stages().due(3, 3)


def test_a_limit_below_the_cost_of_the_head_is_refused() -> None:
    with pytest.raises(UserError, match=r"rho = 0.3 is too low.* cost 0.500 of full"):
        GreenTrainer(rho=0.3).start(build_view([10, 10, 10]))


def test_the_snapshot_is_kept_for_one_step_and_restored_on_resume() -> None:
    view = build_tiny_view(build_tiny_net(), {}, steps_per_epoch=3)
    whole = GreenTrainer(samples=16)
    whole.start(view)
    train_a_step(view, 1)
    whole.decide(view)
    assert view.count_snapshot_bytes() == 0
    assert whole.state_dict()["before"] is None
    for seed in range(5):
        train_a_step(view, seed)
    assert view.step == 6
    whole.decide(view)
    state = whole.state_dict()
    assert state["before"]["step"] == 6
    resumed = GreenTrainer(samples=16)
    resumed.start(build_tiny_view(build_tiny_net(3), {}))
    resumed.load_state_dict(state)
    train_a_step(view, 9)
    assert resumed.decide(view) == whole.decide(view)
    assert resumed.cost() == whole.cost() == 2 * 16 * view.flops.exact().total
    resumed.start(view)
    resumed.load_state_dict(whole.state_dict())
    assert resumed.state_dict()["before"] is None


def test_a_state_kept_in_memory_can_be_loaded_after_the_choice() -> None:
    view = build_tiny_view(build_tiny_net(), {}, steps_per_epoch=3)
    strategy = GreenTrainer(samples=16)
    strategy.start(view)
    state = strategy.state_dict()
    train_a_step(view, 1)
    chosen = strategy.decide(view)
    strategy.load_state_dict(state)
    assert strategy.cost() == 0
    assert strategy.decide(view) == chosen


def test_options_out_of_range_are_refused() -> None:
    for options in ({"rho": -0.1}, {"rho": 1.1}, {"interval": 0}, {"samples": 0}):
        with pytest.raises(UserError, match="is not valid; give"):
            GreenTrainer(**options)


def test_an_interval_of_one_step_is_refused() -> None:
    view = ProbedView([1, 1, 1], total_steps=8, steps_per_epoch=1)
    with pytest.raises(UserError, match="the interval has a single step"):
        GreenTrainer(interval=1).start(view)
