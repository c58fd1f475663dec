"""Hypervolumes agree with a hand-worked example, and their intervals cover in a simulation."""

import math

import numpy as np
import pytest

from reports.leaderboard.hypervolume import (
    compute_hypervolume,
    compute_mean_interval,
    compute_rank_ranges,
    compute_ranks,
    list_resamples,
)
from reports.pooling import average_by_model


def test_the_hypervolume_of_a_frontier_is_that_worked_out_by_hand() -> None:
    # The rectangle is 0.6 × 5 = 3. The points lose 4, 1 and 0.5 points and save 0.5, 0.3 and 0.1.
    # Columns: up to 0.1 saved, 4.5 points are no better; from there to 0.3, 4; to 0.5, 1 point.
    area = 0.1 * 4.5 + 0.2 * 4 + 0.2 * 1
    points = [(0.1, 0.5), (0.5, 4.0), (0.3, 1.0)]
    assert compute_hypervolume(points) == pytest.approx(area / 3)
    dominated = [*points, (0.25, 1.5), (0.05, 0.9)]
    assert compute_hypervolume(dominated) == pytest.approx(area / 3)


@pytest.mark.parametrize(
    ("points", "volume"),
    [
        ([(0.3, 1.0)], 0.3 * 4 / 3),  # the step of a single point
        ([(0.3, -1.0)], 0.5),  # a gain is no loss
        ([(0.9, 0.0)], 1.0),  # a saving above 60 % counts as 60 %
        ([(-0.1, 0.0)], 0.0),  # more expensive than full training
        ([(0.5, 5.1)], 0.0),  # loses more than 5 points
        ([], 0.0),
    ],
)
def test_points_outside_the_rectangle_are_clipped_to_it(points: list, volume: float) -> None:
    assert compute_hypervolume(points) == pytest.approx(volume)


def test_hypervolumes_equal_a_count_of_random_places_that_a_point_covers() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        points = [(draw.uniform(0, 0.7), draw.uniform(-1, 6)) for _ in range(4)]
        saved, lost = draw.uniform(0, 0.6, 20000), draw.uniform(0, 5, 20000)
        covered = np.zeros(20000, dtype=bool)
        for s, loss in points:
            covered |= (saved <= s) & (lost >= loss)
        assert compute_hypervolume(points) == pytest.approx(covered.mean(), abs=0.015)


PAIRS = [(model, data) for model in "abcd" for data in ("10", "100")]


def test_the_interval_of_the_mean_covers_effects_that_vary_by_model() -> None:
    draw, inside, resampled = np.random.default_rng(0), 0, 0
    for _ in range(800):
        models = dict(zip("abcd", draw.normal(0.5, 0.1, 4), strict=True))
        values = {pair: models[pair[0]] + draw.normal(0, 0.05) for pair in PAIRS}
        interval = compute_mean_interval(values)
        inside += interval.low <= 0.5 <= interval.high
        means = np.array(average_by_model(values))[list_resamples(4)].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        resampled += low <= 0.5 <= high
        assert interval.low <= max(low, 0) <= interval.high
    assert inside / 800 >= 0.93
    assert resampled / 800 < 0.88  # resamples of four models alone are too narrow


def test_the_interval_and_the_rank_need_three_models() -> None:
    values = {pair: 0.5 for pair in PAIRS if pair[0] in "ab"}
    interval = compute_mean_interval(values)
    assert interval.mean == 0.5
    assert math.isnan(interval.low)
    assert math.isnan(compute_rank_ranges({"one": values, "two": values})["one"][0])


def test_ranks_over_resamples_are_those_worked_out_by_hand() -> None:
    # "sure" is best on every model. "left" is better than "right" on a, b and c, worse on d: it
    # falls behind only in resamples with d at least twice, among others.
    by_model = {
        "sure": dict.fromkeys("abcd", 0.9),
        "left": {"a": 0.6, "b": 0.6, "c": 0.6, "d": 0.1},
        "right": dict.fromkeys("abcd", 0.5),
    }
    values = {
        name: {(model, data): volumes[model] for model, data in PAIRS}
        for name, volumes in by_model.items()
    }
    ranges = compute_rank_ranges(values)
    assert ranges["sure"] == (1, 1)
    assert ranges["left"] == ranges["right"] == (2, 3)
    assert compute_rank_ranges({"one": values["sure"], "two": values["sure"]})["one"] == (1.5, 1.5)


def test_equal_methods_share_their_mean_rank_which_lies_in_its_range() -> None:
    means = {"first": 0.9, "a": 0.0, "b": 0.0, "c": 0.0, "d": 0.0}
    values = {name: dict.fromkeys(PAIRS, mean) for name, mean in means.items()}
    ranks = compute_ranks(values)
    assert ranks == {"first": 1, "a": 3.5, "b": 3.5, "c": 3.5, "d": 3.5}
    assert compute_rank_ranges(values) == {name: (rank, rank) for name, rank in ranks.items()}
    assert compute_ranks({}) == {}


def test_all_resamples_of_few_models_are_listed_and_those_of_many_are_drawn() -> None:
    assert len(list_resamples(4)) == 256
    assert {tuple(sorted(row)) for row in list_resamples(2).tolist()} == {(0, 0), (0, 1), (1, 1)}
    assert list_resamples(8).shape == (4000, 8)
