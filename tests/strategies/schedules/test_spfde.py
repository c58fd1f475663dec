"""SpFDE spends its FLOP target, and its decisions equal those of its rule, restated here."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from strategies.budget import compute_schedule_cost
from strategies.schedules.spfde import Spfde
from tests.support.hand_view import HandView


def run(strategy: Spfde, view: HandView) -> dict[int, int]:
    """Return the step after which each layer freezes."""
    strategy.start(view)
    frozen = {}
    for step in range(view.total_steps + 1):
        view.step = step
        if strategy.stages().due(view.step, view.steps_per_epoch):
            for decision in strategy.decide(view):
                assert decision.freeze
                assert decision.layer not in frozen
                frozen[decision.layer] = view.step
    return frozen


def restate(
    costs: list[int], blocks: list[int], steps: int, target: Fraction
) -> dict[int, int] | None:
    """Return the step at which each layer freezes, for the latest start within the target.

    Try all starts, and add up the FLOPs step by step. Return None if no start is early enough.
    target: FLOPs of the training.
    """
    count = blocks[-1] + 1
    for start in range(steps, -steps * count - 1, -1):
        freeze_steps = []
        for block in blocks[:-1]:
            exact = start + Fraction((block + 1) * (steps - start), count)
            freeze_steps.append(max(0, round(exact)))
        spent = 0
        for step in range(steps):
            first = sum(own <= step for own in freeze_steps)  # the first layer that trains
            # Forward and weight gradients, and input gradients of the layers after the first one.
            spent += sum(costs) + sum(costs[first:]) + sum(costs[first + 1 :])
        if spent <= target:
            return {i: own for i, own in enumerate(freeze_steps) if own < steps}
    return None


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 3), min_size=1, max_size=5),
    costs=st.lists(st.integers(1, 50), min_size=16, max_size=16),
    steps=st.integers(1, 40),
    percent=st.integers(0, 70),
    matched=st.booleans(),
)
def test_decisions_equal_the_rule(
    sizes: list[int], costs: list[int], steps: int, percent: int, matched: bool
) -> None:
    blocks = [i for i, size in enumerate(sizes) for _ in range(size)] + [len(sizes)]
    costs = costs[: len(blocks)]
    full = (3 * sum(costs) - costs[0]) * steps
    target = Fraction(full * (100 - percent), 100)
    expected = restate(costs, blocks, steps, target)
    view = HandView(costs, blocks=blocks, total_steps=steps)
    view.budget = float(target) if matched else None
    strategy = Spfde() if matched else Spfde(saving=percent / 100)
    if expected is None:
        with pytest.raises(UserError, match="cannot meet a budget"):
            strategy.start(view)
    else:
        assert run(strategy, view) == expected


@given(
    costs=st.lists(st.integers(1, 50), min_size=3, max_size=15),
    share=st.floats(0.0, 1.0),
    samples=st.integers(1, 50),
)
def test_a_matched_run_spends_its_budget_to_within_one_step(
    costs: list[int], share: float, samples: int
) -> None:
    view = HandView(costs, total_steps=500, samples_per_step=samples / 3)
    full = compute_schedule_cost(view, {}, 500)
    least = compute_schedule_cost(view, dict.fromkeys(range(len(costs) - 1), 0), 500)
    view.budget = least + share * (full - least)
    spent = compute_schedule_cost(view, run(Spfde(), view), 500)
    assert view.budget - full / 500 < spent <= view.budget * (1 + 1e-9)


def test_the_default_target_is_half_of_full_training() -> None:
    view = HandView([10] * 6, total_steps=600)
    strategy = Spfde()
    spent = compute_schedule_cost(view, run(strategy, view), 600) / (600 * (180 - 10))
    assert 0.499 < spent <= 0.5


def test_intervals_are_equal_from_the_start_to_the_end_of_training() -> None:
    # With start s, layers freeze at s + (100 − s) / 5 and so on, and the head would at 100.
    view = HandView([10] * 5, total_steps=100)
    view.budget = compute_schedule_cost(view, {0: 60, 1: 70, 2: 80, 3: 90}, 100)
    assert run(Spfde(), view) == {0: 60, 1: 70, 2: 80, 3: 90}
    view.budget = compute_schedule_cost(view, {0: 0, 1: 0, 2: 25, 3: 62}, 100)  # start −87 or −88
    freeze_steps = run(Spfde(), view)
    assert freeze_steps[0] == freeze_steps[1] == 0
    assert 0 < freeze_steps[2] < freeze_steps[3] < 100


def test_what_it_cannot_do_is_refused() -> None:
    for saving in (-0.1, 0.96, math.nan):
        with pytest.raises(UserError, match=r"saving = .* is not valid"):
            Spfde(saving=saving)
    view = HandView([10, 20, 30])
    view.budget = 1.0
    with pytest.raises(UserError, match="strategy spfde: cannot meet a budget"):
        Spfde().start(view)


def test_nothing_freezes_if_the_budget_equals_full_training() -> None:
    assert run(Spfde(saving=0.0), HandView([7, 11, 13])) == {}
