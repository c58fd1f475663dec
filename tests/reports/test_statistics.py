"""Tests of the statistics with manually computed values and with general properties."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reports.statistics import (
    MARGIN,
    MARGIN_OPEN,
    Interval,
    apply_holm,
    compute_detectable_difference,
    compute_mean,
    compute_p_different,
    compute_p_no_worse,
    compute_paired_saving,
    compute_sample_sd,
    compute_t_interval,
    judge_difference,
)

T4 = 2.7764451051977987  # 97.5 % quantile of Student's t with 4 degrees of freedom
points = st.floats(-20, 20, allow_nan=False)
samples = st.lists(points, min_size=2, max_size=12)
p_values = st.dictionaries(st.text("abcdefgh", min_size=1), st.floats(0, 1), max_size=8)


def test_mean_sd_and_interval_equal_manual_values():
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    assert compute_mean(values) == 3.0
    assert compute_sample_sd(values) == pytest.approx(math.sqrt(10 / 4))  # ddof = 1, not 10 / 5
    interval = compute_t_interval(values)
    half = T4 * math.sqrt(2.5 / 5)
    assert (interval.low, interval.high) == pytest.approx((3 - half, 3 + half))
    assert interval.n == 5


def test_one_value_has_a_mean_and_no_interval():
    interval = compute_t_interval([7.0])
    assert interval.mean == 7.0
    assert not interval.known
    assert math.isnan(interval.low)
    assert math.isnan(compute_sample_sd([7.0]))
    assert math.isnan(compute_p_no_worse([7.0]))
    assert math.isnan(compute_p_different([7.0]))
    assert judge_difference(interval) == "inconclusive"
    assert compute_t_interval([]).n == 0


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.49, 0.3, "non-inferior"),
        (0.1, 0.3, "non-inferior"),
        (-0.51, 0.3, "inconclusive"),
        (-0.5, 0.3, "inconclusive"),  # must be above the margin, not equal to it
        (-0.9, -0.5, MARGIN_OPEN),
        (-0.9, 0.0, "inconclusive"),
        (-0.9, -0.51, "inferior"),
        (-9.0, -0.4, MARGIN_OPEN),
    ],
)
def test_verdict_follows_from_the_interval(low, high, expected):
    assert judge_difference(Interval((low + high) / 2, low, high, 5)) == expected


def test_two_equal_seeds_give_no_verdict_and_no_p_value():
    assert judge_difference(compute_t_interval([0.0, 0.0])) == "inconclusive"
    assert judge_difference(compute_t_interval([-2.0, -2.0])) == "inconclusive"
    assert judge_difference(compute_t_interval([0.0, 0.0, 0.0])) == "non-inferior"
    assert math.isnan(compute_p_no_worse([0.0, 0.0]))
    assert math.isnan(compute_p_different([1.0, 1.0]))


@pytest.mark.parametrize("n", [3, 5, 8])
def test_the_detectable_difference_is_found_with_80_percent_power(n):
    values = list(np.random.default_rng(n).standard_normal(n))
    detectable = compute_detectable_difference(compute_t_interval(values))
    noncentrality = detectable / (compute_sample_sd(values) / math.sqrt(n))
    critical = scipy.stats.t.ppf(0.975, n - 1)
    power = scipy.stats.nct.sf(critical, n - 1, noncentrality)
    assert power == pytest.approx(0.8, abs=1e-6)
    assert math.isnan(compute_detectable_difference(compute_t_interval(values[:2])))


def test_paired_saving_equals_manual_values():
    saving = compute_paired_saving({0: 50.0, 1: 30.0}, {0: 100.0, 1: 60.0})
    assert saving.mean == pytest.approx(0.5)
    assert (saving.low, saving.high) == pytest.approx((0.5, 0.5))
    assert compute_paired_saving({0: 1.0}, {1: 1.0}).n == 0


def test_p_values_equal_manual_values():
    # mean 0.3, sd √(0.02 / 3), n = 4: t = 0.3 / √(0.02 / 12) = 7.35, 3 degrees of freedom.
    values = [0.2, 0.3, 0.3, 0.4]
    error = compute_sample_sd(values) / 2
    t = 0.3 / error

    def tail3(t):  # P(T > t), closed form for three degrees of freedom
        x = t / math.sqrt(3)
        return 0.5 - (math.atan(x) + x / (1 + x * x)) / math.pi

    assert compute_p_different(values) == pytest.approx(2 * tail3(t))
    assert compute_p_no_worse(values) == pytest.approx(tail3((0.3 + MARGIN) / error))
    assert compute_p_no_worse([0.0, 0.0, 0.0]) == 0.0
    assert compute_p_no_worse([-1.0, -1.0, -1.0]) == 1.0
    assert compute_p_different([0.0, 0.0, 0.0]) == 1.0


def test_holm_equals_manual_values():
    adjusted = apply_holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": math.nan})
    assert adjusted["a"] == pytest.approx(0.03)
    assert adjusted["c"] == pytest.approx(0.06)
    assert adjusted["b"] == pytest.approx(0.06)  # 1 × 0.04, raised to the value of c
    assert math.isnan(adjusted["d"])


def test_holm_counts_planned_tests_that_were_not_made():
    adjusted = apply_holm({"a": 0.01, "b": 0.04, "c": math.nan}, family=3)
    assert adjusted["a"] == pytest.approx(0.03)
    assert adjusted["b"] == pytest.approx(0.08)
    assert math.isnan(adjusted["c"])


@settings(deadline=None)
@given(p_values)
def test_holm_never_lowers_a_p_value_and_keeps_the_order(raw):
    adjusted = apply_holm(raw)
    assert adjusted.keys() == raw.keys()
    for key, p in raw.items():
        assert p <= adjusted[key] <= 1
        assert all(adjusted[key] <= adjusted[other] for other in raw if raw[other] > p)
    if raw:
        assert min(adjusted.values()) == min(1, len(raw) * min(raw.values()))


@settings(deadline=None)
@given(samples)
def test_interval_contains_its_mean(values):
    interval = compute_t_interval(values)
    assert interval.low <= interval.mean <= interval.high


@settings(deadline=None)
@given(samples, st.floats(0, 5))
def test_verdict_never_worsens_when_all_differences_rise(values, rise):
    order = {"inferior": 0, MARGIN_OPEN: 1, "inconclusive": 2, "non-inferior": 3}
    before = judge_difference(compute_t_interval(values))
    after = judge_difference(compute_t_interval([value + rise for value in values]))
    assert order[after] >= order[before]


@settings(deadline=None)
@given(points, points, st.floats(0, 5))
def test_wider_interval_keeps_the_verdict_or_leaves_the_margin_open(low, high, wider):
    assume(low <= high)
    narrow = judge_difference(Interval(0, low, high, 5))
    wide = judge_difference(Interval(0, low - wider, high + wider, 5))
    assert wide in (narrow, MARGIN_OPEN, "inconclusive")


@settings(deadline=None)
@given(samples)
def test_p_value_and_verdict_agree(values):
    assume(compute_sample_sd(values) > 1e-6)
    interval = compute_t_interval(values)
    assume(abs(interval.low + MARGIN) > 1e-9)
    assert (compute_p_no_worse(values) < 0.025) == (judge_difference(interval) == "non-inferior")


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 100), min_size=2, max_size=9), st.floats(0.1, 10))
def test_savings_do_not_depend_on_the_unit_of_time(times, unit):
    full = dict(enumerate(times))
    ours = {seed: 0.7 * time + 0.01 for seed, time in full.items()}
    plain = compute_paired_saving(ours, full)
    scaled = compute_paired_saving(
        {s: t * unit for s, t in ours.items()}, {s: t * unit for s, t in full.items()}
    )
    assert scaled.mean == pytest.approx(plain.mean)
    assert scaled.low == pytest.approx(plain.low)
