"""Tests of probe, prefix, random, shortened and at_once against manually computed costs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UserError
from strategies.budget import compute_schedule_cost
from strategies.controls.at_once import AtOnce
from strategies.controls.prefix import Prefix
from strategies.controls.probe import Probe
from strategies.controls.random import Random
from strategies.controls.shortened import Shortened
from strategies.schedules.spfde import Spfde
from tests.support.hand_view import HandView


def test_schedule_cost_equals_manual_calculation() -> None:
    view = HandView([10, 20, 30], samples_per_step=2.0)
    # Full step: forward 60, weight gradients 60, input gradients 20 + 30 (none for layer 0): 170.
    # Layer 0 frozen: 60 + 50 + 30 = 140. Layers 0 and 1: 60 + 30 = 90.
    assert compute_schedule_cost(view, {}, 10) == 2 * 1700
    assert compute_schedule_cost(view, {0: 4, 1: 7}, 10) == 2 * (4 * 170 + 3 * 140 + 3 * 90)
    assert compute_schedule_cost(view, {1: 0, 0: 0}, 10) == 2 * 900
    assert compute_schedule_cost(view, {0: 50}, 10) == 2 * 1700


def test_probe_freezes_all_layers_but_the_head_before_training() -> None:
    view, strategy = HandView([1] * 4), Probe()
    strategy.start(view)
    assert strategy.stages().due(0, 10)
    assert [v.layer for v in strategy.decide(view) if v.freeze] == [0, 1, 2]
    assert not any(strategy.stages().due(step, 10) for step in range(1, 100))


def freeze(strategy: Prefix, view: HandView) -> dict[int, int]:
    """Return the step after which each layer freezes."""
    strategy.start(view)
    frozen = {}
    for step in range(view.total_steps):
        view.step = step
        if strategy.stages().due(step, 10):
            frozen |= {v.layer: step for v in strategy.decide(view) if v.freeze}
    return frozen


def test_prefix_freezes_the_first_k_layers_before_training() -> None:
    assert freeze(Prefix(k=2), HandView([1] * 5)) == {0: 0, 1: 0}
    assert freeze(Prefix(), HandView([1] * 5)) == {0: 0, 1: 0}  # half
    assert freeze(Prefix(k=4), HandView([1] * 5)) == dict.fromkeys(range(4), 0)


def test_prefix_is_the_shortest_that_saves_the_given_share() -> None:
    view = HandView([10, 20, 30])  # steps cost 170, 140 (layer 0 frozen), 90 (0 and 1 frozen)
    assert freeze(Prefix(saving=0.17), view) == {0: 0}
    assert freeze(Prefix(saving=1 - 140 / 170), view) == {0: 0}
    assert freeze(Prefix(saving=0.18), view) == {0: 0, 1: 0}


@given(costs=st.lists(st.integers(1, 50), min_size=3, max_size=15), share=st.floats(0.05, 1.0))
def test_a_matched_prefix_spends_its_budget_to_within_one_step(
    costs: list[int], share: float
) -> None:
    view = HandView(costs, total_steps=500)
    body = range(len(costs) - 1)
    full = compute_schedule_cost(view, {}, 500)
    least = compute_schedule_cost(view, dict.fromkeys(body, 0), 500)
    view.budget = least + share * (full - least)
    frozen = freeze(Prefix(), view)
    assert sorted(frozen) == list(range(len(frozen)))
    assert not any(list(frozen.values())[:-1])  # only the last layer may train at all
    spent = compute_schedule_cost(view, frozen, 500)
    assert view.budget - full / 500 < spent <= view.budget * (1 + 1e-9)


@pytest.mark.parametrize("strategy", [AtOnce, Prefix, Random, Spfde])
def test_the_cost_of_freezing_everything_is_a_budget_that_can_be_met(
    strategy: type[AtOnce | Prefix | Random | Spfde],
) -> None:
    """Accept a budget that is below this cost only by rounding.

    An example is the budget of a run matched to `probe`, whose sum of FLOPs is rounded differently.
    """
    view = HandView([10, 20, 30], total_steps=100)
    least = compute_schedule_cost(view, {0: 0, 1: 0}, 100)
    view.budget = math.nextafter(least, 0)
    matched = strategy()
    matched.start(view)
    assert matched.stages().due(0, 10)
    frozen = {v.layer for v in matched.decide(view) if v.freeze}
    assert frozen == {0, 1}
    view.budget = least * (1 - 1e-6)
    with pytest.raises(UserError, match="cannot meet a budget"):
        strategy().start(view)


def test_prefix_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UserError, match=r"k = 3 includes the head.*at most 2"):
        Prefix(k=3).start(HandView([10, 20, 30]))
    with pytest.raises(UserError, match="k = 1 and a saving"):
        Prefix(k=1, saving=0.2).start(HandView([10, 20, 30]))
    view = HandView([10, 20, 30])
    view.budget = 1.0
    with pytest.raises(UserError, match="cannot meet a budget"):
        Prefix().start(view)


@given(
    costs=st.lists(st.integers(1, 50), min_size=3, max_size=15),
    saving=st.floats(0.05, 0.3),
    seed=st.integers(0, 1000),
)
def test_random_costs_at_most_its_budget_and_at_least_98_percent_of_it(
    costs: list[int], saving: float, seed: int
) -> None:
    view = HandView(costs, total_steps=2000, seed=seed)
    strategy = Random(saving=saving)
    full = view.flops.exact().total * 2000
    try:
        strategy.start(view)
    except UserError:
        # The budget cannot be met: even freezing all layers at step 0 costs more.
        at_once = dict.fromkeys(range(len(costs) - 1), 0)
        assert compute_schedule_cost(view, at_once, 2000) > (1 - saving) * full
        return
    spent = compute_schedule_cost(view, strategy._freeze_at, 2000)
    assert (1 - saving) * full * 0.98 < spent <= (1 - saving) * full * (1 + 1e-9)
    assert len(costs) - 1 not in strategy._freeze_at


@given(steps=st.integers(1, 4000), samples=st.integers(1, 50), cost=st.integers(1, 10**9))
def test_rounding_does_not_drop_a_step_of_the_budget(steps: int, samples: int, cost: int) -> None:
    view = HandView([cost, 3 * cost], samples_per_step=samples / 3, total_steps=4000)
    view.budget = view.flops.exact().total * view.samples_per_step * steps
    assert Shortened().total_steps(view) == steps
    random = Random()
    view.total_steps = steps
    random.start(view)
    assert random._freeze_at == {}  # the budget equals the cost of full training


def test_random_draws_depend_on_the_seed_and_the_task() -> None:
    """Draw anew for each task. The luck of a common draw would affect the mean over tasks."""
    freeze_steps = []
    for seed, data in ((0, "a"), (0, "a"), (1, "a"), (0, "b")):
        strategy = Random(saving=0.3)
        strategy.start(HandView([5] * 8, total_steps=500, seed=seed, task=("a model", data)))
        freeze_steps.append(strategy._freeze_at)
    assert freeze_steps[0] == freeze_steps[1]
    assert freeze_steps[1] != freeze_steps[2]
    assert freeze_steps[1] != freeze_steps[3]


@pytest.mark.parametrize("control", [Random, AtOnce, Prefix])
def test_a_head_alone_cannot_save_anything(control: type[Random | AtOnce | Prefix]) -> None:
    view = HandView([10])
    with pytest.raises(UserError, match="cannot meet a budget") as error:
        control(saving=0.2).start(view)
    assert "\n" not in str(error.value)
    for budget in (None, view.flops.exact().total * 100):  # neither asks for a saving
        view.budget, strategy = budget, control()
        strategy.start(view)
        assert not strategy.decide(view)


def test_shortened_runs_the_steps_that_the_budget_pays_for() -> None:
    view = HandView([10, 20, 30], total_steps=100)
    assert Shortened(saving=0.4).total_steps(view) == 60
    view.budget = 50 * 170 + 1
    assert Shortened().total_steps(view) == 50
    view.budget = 1.0
    with pytest.raises(UserError, match="cannot meet a budget"):
        Shortened().total_steps(view)


def test_at_once_freezes_at_the_latest_step_within_the_budget() -> None:
    view = HandView([10, 20, 30], total_steps=100)
    full, frozen = view.flops.exact().total, view.flops.exact({0, 1}).total
    strategy = AtOnce(saving=0.2)
    strategy.start(view)
    (freeze_step,) = set(strategy._freeze_at.values())
    spent = [m * full + (100 - m) * frozen for m in (freeze_step, freeze_step + 1)]
    assert spent[0] <= 80 * full < spent[1]
    view.step = freeze_step
    assert strategy.stages().due(freeze_step, 10)
    assert {v.layer for v in strategy.decide(view) if v.freeze} == {0, 1}
    view.budget = 1.0
    with pytest.raises(UserError, match="cannot meet a budget"):
        AtOnce().start(view)


def test_at_once_never_freezes_if_the_budget_equals_full_training() -> None:
    view = HandView([10, 20, 30], total_steps=100)
    view.budget = view.flops.exact().total * 100
    strategy = AtOnce()
    strategy.start(view)
    assert not any(strategy.stages().due(step, 10) for step in range(101))
