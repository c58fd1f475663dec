"""Controls are interpolated at the cost of a method, seed by seed."""

import math

import numpy as np
import pytest

from bench.errors import UserError
from reports.leaderboard.contestants import CONTROLS, Contestant, collect_contestants
from reports.leaderboard.control_curves import compare_with_curve, find_weights
from reports.runs.cells import Cell
from reports.runs.run_table import DIVERGED, DONE, MISSING
from reports.sampling import compute_residuals
from tests.support.leaderboard_cells import SAMPLES, make_cell, make_run

PAIR = ("m", "d")


def collect(*cells: object) -> dict[str, Contestant]:
    return collect_contestants([make_cell((*PAIR, "full"), [90, 92, 94], 1.0), *cells])


def make(method: str, accuracies: list[float], cost: float, wanted: int = 0) -> object:
    return make_cell((*PAIR, method), accuracies, cost, wanted)


@pytest.mark.parametrize(
    ("cost", "weights"),
    [
        (0.75, {0: 0.5, 1: 0.5}),
        (0.9, {0: 0.8, 1: 0.2}),
        (0.5, {1: 1.0}),
        (0.45, {1: 0.75, 2: 0.25}),
        (1.2, {0: 1.0}),  # dearer than full training, which then costs less
        (0.3, {2: 1.0}),
        (0.29, None),  # cheaper than every setting of the control
    ],
)
def test_the_weights_of_a_control_give_the_cost_of_the_method(
    cost: float, weights: dict[int, float] | None
) -> None:
    costs = [1.0, 0.5, 0.3]
    found = find_weights(costs, cost)
    if weights is None:
        assert found is None
    else:
        assert dict(found) == pytest.approx(weights)
        assert sum(w * costs[i] for i, w in found) == pytest.approx(min(cost, 1.0))


def test_a_method_is_compared_with_the_chord_between_two_settings_of_a_control() -> None:
    found = collect(
        make("mine", [89, 91, 95], 0.6),
        make("prefix, 20 %", [89, 90, 94], 0.8),
        make("prefix, 50 %", [80, 84, 88], 0.5),
    )
    # At a cost of 0.6, a third of the way from 0.5 to 0.8: 80 + 9 / 3 = 83, 86 and 90.
    difference = compare_with_curve(found["mine"].points[PAIR][0], found["prefix"].points[PAIR])
    assert difference.by_seed == pytest.approx({0: 6.0, 1: 5.0, 2: 5.0})
    assert difference.mean == pytest.approx(16 / 3)
    runs = {name: contestant.points[PAIR] for name, contestant in found.items()}
    cells = [runs["mine"][0].cell, *(point.cell for point in runs["prefix"])]
    values, sources = {}, {}
    for seed in range(3):
        own, near, far = (cell.finished[seed]["samples"]() for cell in cells)
        values[seed] = own.contributions - near.contributions / 3 - 2 * far.contributions / 3
        sources[seed] = own.sources
    expected = compute_residuals(values, sources).compute_variance()
    assert difference.draws[0].total == pytest.approx(expected.total)
    assert difference.interval.low < difference.mean < difference.interval.high


def test_the_cost_of_decisions_counts() -> None:
    found = collect(make("mine", [89, 91, 95], 0.6))
    point = found["mine"].points[PAIR][0]
    assert point.costs == pytest.approx({0: 0.6, 1: 0.6, 2: 0.6})
    assert point.saved == pytest.approx(0.4)


def test_a_pair_counts_only_with_all_of_its_seeds() -> None:
    settings = [
        make("prefix, 50 %", [80, 84, 88], 0.5),
        make("at_once, 50 %", [80, 84], 0.5, wanted=3),
        make("shortened, 20 %", [88, 90, 92], 0.8),
    ]
    found = collect(make("mine", [89, 91, 95], 0.6), *settings)
    mine = found["mine"].points[PAIR][0]
    compared = {name: compare_with_curve(mine, found[name].points[PAIR]) for name in CONTROLS}
    assert {name: difference.n for name, difference in compared.items()} == {
        "prefix": 3,
        "at_once": 0,  # no run with the third seed
        "shortened": 0,  # its only setting costs more
    }
    assert math.isnan(compared["at_once"].interval.mean)
    # One seed of three costs less than the control, and would be the one that is left out.
    costs = (0.7, 0.49, 0.6)
    runs = [make_run((*PAIR, "mine"), s, 90, cost) for s, cost in enumerate(costs)]
    found = collect(Cell((*PAIR, "mine"), runs), *settings)
    assert not compare_with_curve(found["mine"].points[PAIR][0], found["prefix"].points[PAIR]).n
    # One of three runs has no result.
    found = collect(make("mine", [89, 91], 0.6, wanted=3), *settings)
    assert not compare_with_curve(found["mine"].points[PAIR][0], found["prefix"].points[PAIR]).n


@pytest.mark.parametrize(("state", "compared"), [(DONE, 3), (MISSING, 0), (DIVERGED, 0)])
@pytest.mark.parametrize("cost", [0.6, 1.0])
def test_a_control_is_compared_only_if_each_setting_has_a_result_for_each_seed(
    state: str, compared: int, cost: float
) -> None:
    found = collect(
        make("mine", [89, 91, 95], cost),
        make("prefix, 20 %", [88, 90, 92], 0.8),
        make("prefix, 50 %", [80, 84, 88], 0.5),
    )
    control = found["prefix"].points[PAIR]
    control[0].cell.runs[1]["state"] = state
    assert compare_with_curve(found["mine"].points[PAIR][0], control).n == compared


def test_a_control_without_settings_is_not_compared() -> None:
    mine = collect(make("mine", [89, 91, 95], 1.0))["mine"].points[PAIR][0]
    assert set(mine.costs.values()) == {1.0}  # like full training, which is on every curve
    assert not compare_with_curve(mine, ()).n


def test_runs_on_different_samples_are_an_error() -> None:
    found = collect(make("mine", [89, 91, 95], 0.6), make("prefix, 50 %", [80, 84, 88], 0.5))
    rival = found["prefix"].points[PAIR][0].cell.runs[1]
    other = rival["samples"]()
    moved = type(other)(other.contributions, other.sources + np.int64(SAMPLES))
    rival["samples"] = lambda: moved
    with pytest.raises(UserError, match="different samples"):
        compare_with_curve(found["mine"].points[PAIR][0], found["prefix"].points[PAIR])


def test_a_name_after_a_comma_is_a_further_point_of_the_same_method() -> None:
    found = collect(make("slimfit", [1, 2, 3], 0.9), make("slimfit, share 0.5", [4, 5, 6], 0.7))
    assert list(found) == ["slimfit"]
    assert [p.method for p in found["slimfit"].points[PAIR]] == ["slimfit", "slimfit, share 0.5"]
    assert found["slimfit"].defaults[PAIR].method == "slimfit"
