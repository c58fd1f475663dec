"""Tests of FreezeOut against manually computed schedules and costs."""

import math
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from bench.training.optimizer import compute_lr_factor, compute_warmup_factor
from strategies.budget import compute_schedule_cost
from strategies.schedules.linear import Linear
from tests.support.hand_view import HandView


def test_freeze_steps_are_spaced_by_a_power_from_t0_to_the_end() -> None:
    view = HandView([1, 1, 1, 1, 1], total_steps=100)
    assert Linear(t0=0.5).compute_freeze_steps(view, 100) == [50, 62, 75, 88, 100]
    assert Linear(t0=0.0).compute_freeze_steps(view, 100) == [0, 25, 50, 75, 100]
    # Squared: 0.5² = 0.25, 0.625² = 0.391, 0.75² = 0.5625, 0.875² = 0.766.
    squared = Linear(t0=0.5, spacing="squared")
    assert squared.compute_freeze_steps(view, 1000) == [250, 391, 562, 766, 1000]
    # Cubic: each fraction is cubed: 0.5³ = 0.125, 0.625³ = 0.244, 0.75³ = 0.422, 0.875³ = 0.670.
    cubic = Linear(t0=0.5, spacing="cubic")
    assert cubic.compute_freeze_steps(view, 1000) == [125, 244, 422, 670, 1000]


def test_a_head_alone_trains_until_the_end() -> None:
    view = HandView([7], total_steps=100, base_lr=0.1)
    strategy = Linear()
    strategy.start(view)
    assert strategy.compute_freeze_steps(view, 100) == [100]
    view.step = 75
    assert strategy.learning_rates(view) == pytest.approx([0.05 * (1 + math.cos(0.75 * math.pi))])


def test_learning_rates_follow_equation_6() -> None:
    view = HandView([1, 1, 1], total_steps=100, base_lr=0.1)
    strategy = Linear(t0=0.5)
    strategy.start(view)
    view.step = 25
    rates = strategy.learning_rates(view)
    for rate, freeze_step in zip(rates, [50, 75, 100], strict=True):
        assert rate == pytest.approx(0.5 * 0.1 * (1 + math.cos(math.pi * 25 / freeze_step)))
    view.step = 50
    assert strategy.learning_rates(view)[0] == pytest.approx(0.0)


def test_scaled_rates_start_at_lr_divided_by_the_fraction_of_the_run() -> None:
    view = HandView([1, 1, 1], total_steps=100, base_lr=0.1)
    strategy = Linear(t0=0.5, scaled=True)
    strategy.start(view)
    assert strategy.learning_rates(view) == pytest.approx([0.2, 0.1 / 0.75, 0.1])


def test_each_layer_freezes_at_its_step_and_the_head_never_freezes() -> None:
    view = HandView([1, 1, 1, 1], total_steps=90)
    strategy = Linear(t0=0.5)
    strategy.start(view)
    frozen = {}
    for step in range(1, 91):
        view.step = step
        if strategy.stages().due(step, 10):
            for decision in strategy.decide(view):
                assert decision.freeze
                frozen[decision.layer] = step
                view.frozen |= {decision.layer}
    assert frozen == {0: 45, 1: 60, 2: 75}


@settings(max_examples=150, deadline=None)
@given(
    layers=st.integers(2, 16),
    t0=st.integers(0, 20).map(lambda n: Fraction(n, 20)),
    spacing=st.sampled_from(["linear", "squared", "cubic"]),
    scaled=st.booleans(),
    steps=st.integers(1, 80),
)
def test_decisions_and_rates_equal_the_rule(
    layers: int, t0: Fraction, spacing: str, scaled: bool, steps: int
) -> None:
    """Compute the shares t_i of the training as exact fractions.

    Leave out settings with a freeze halfway between two steps, which may round to either.
    """
    power = {"linear": 1, "squared": 2, "cubic": 3}[spacing]
    shares = [(t0 + (1 - t0) * Fraction(i, layers - 1)) ** power for i in range(layers)]
    assume(all((2 * share * steps) % 2 != 1 for share in shares))
    freeze_steps = [round(share * steps) for share in shares]
    view = HandView([1] * layers, total_steps=steps, base_lr=0.1)
    strategy = Linear(t0=float(t0), spacing=spacing, scaled=scaled)
    strategy.start(view)
    for step in range(steps):
        view.step = step
        if strategy.stages().due(step, 10):
            view.frozen |= {v.layer for v in strategy.decide(view) if v.freeze}
        assert view.frozen == {i for i in range(layers - 1) if freeze_steps[i] <= step}
        rates = strategy.learning_rates(view)
        for freeze_step, rate in zip(freeze_steps, rates, strict=True):
            if step < freeze_step:
                start = 0.1 * (steps / freeze_step if scaled else 1)
                annealed = start * (1 + math.cos(math.pi * step / freeze_step)) / 2
                assert rate == pytest.approx(annealed)
            else:
                assert rate == pytest.approx(0)


@given(
    costs=st.lists(st.integers(1, 50), min_size=2, max_size=12),
    t0=st.floats(0.1, 0.9),
    saving=st.floats(0.1, 0.8),
)
def test_solved_number_of_steps_costs_the_budget_within_one_step(
    costs: list[int], t0: float, saving: float
) -> None:
    view = HandView(costs, total_steps=400)
    full = view.flops.exact().total
    view.budget = (1 - saving) * full * 400
    strategy = Linear(t0=t0)
    view.total_steps = strategy.total_steps(view)
    freeze_steps = dict(enumerate(strategy.compute_freeze_steps(view, view.total_steps)[:-1]))
    spent = compute_schedule_cost(view, freeze_steps, view.total_steps)
    assert spent <= view.budget
    # With one more step of training, each freeze would come at most one step later.
    assert spent > view.budget - 2 * full * len(costs)


def test_a_budget_below_the_cost_of_one_step_is_an_error() -> None:
    view = HandView([10, 10, 10], budget=1.0)
    with pytest.raises(UserError, match="cannot meet a budget"):
        Linear().total_steps(view)


def test_with_warm_up_the_head_follows_the_schedule_of_full_training() -> None:
    view = HandView([1, 1, 1], total_steps=100, base_lr=0.1, warmup_steps=20.0)
    strategy = Linear(t0=0.1)
    strategy.start(view)
    for view.step in range(100):
        first, second, head = strategy.learning_rates(view)
        warm = compute_warmup_factor(view.step, 100, 0.2)
        assert warm * head == pytest.approx(0.1 * compute_lr_factor(view.step, 100, 0.2))
        # Frozen after 10 steps, within the warm-up, and after 55.
        assert first == pytest.approx(0.05 * (1 + math.cos(math.pi * min(view.step, 10) / 10)))
        fallen = min(max(view.step - 20, 0), 35) / 35
        assert second == pytest.approx(0.05 * (1 + math.cos(math.pi * fallen)))
