"""Tests of the variance from the draw of the evaluation samples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.sampling import compute_pooled_variances, compute_residuals
from reports.statistics import compute_p_different, compute_t_interval

# Values of statsmodels 0.15.0 for a regression on a constant: cov_cluster, and cov_cluster_2groups
# with use_correction=False (Cameron, Gelbach and Miller 2011).
DIFFERENCES = np.array([100.0, 0, 0, -100, 0, 100, 100, 0, -100, 0, 0, 0])
SOURCES = np.array([4, 4, 4, 7, 7, 1, 1, 1, 1, 9, 9, 2])
ONE_WAY = 208.57445988
CROSSED = np.array([100.0, 100, 0, 0, -100, 0, 0, 0, 100, 0, -100, -100])
LEFT = np.array([0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 2, 3])
RIGHT = np.array([10, 11, 12, 10, 11, 12, 10, 11, 12, 11, 10, 12])
TWO_WAY = 555.55555556


def test_variances_equal_those_of_statsmodels():
    residuals = compute_residuals({0: DIFFERENCES}, {0: SOURCES[:, None]})
    assert residuals.compute_variance().total == pytest.approx(ONE_WAY)
    assert residuals.df == 5 - 1
    two = compute_residuals({0: CROSSED}, {0: np.stack([LEFT, RIGHT], axis=1)})
    # Seven sources: statsmodels was asked not to correct for their number.
    assert two.compute_variance().total == pytest.approx(TWO_WAY * 7 / 6 * 49 / 31)


@pytest.mark.parametrize(("count", "per_sample"), [(3, 1), (2, 2), (3, 2), (10, 2), (25, 2)])
def test_the_variance_is_unbiased_for_effects_that_add_up(count, per_sample):
    draw, found, true = np.random.default_rng(0), [], []
    for _ in range(600):
        sources = draw.integers(0, count, (200, per_sample))
        values = draw.standard_normal(count)[sources].sum(axis=1)
        found.append(compute_residuals({0: values}, {0: sources}).compute_variance().total)
        shares = np.bincount(sources.ravel(), minlength=count) / len(sources)
        true.append(np.square(shares).sum())
    assert np.mean(found) == pytest.approx(np.mean(true), rel=0.15)


def test_a_negative_estimate_is_unknown():
    # The effect of a pair of sources is not the sum of two effects.
    sources = np.array([[0, 0], [1, 1], [0, 1], [0, 1]])
    values = np.array([1.0, 1.0, -1.0, -1.0])
    assert math.isnan(compute_residuals({0: values}, {0: sources}).compute_variance().total)


@given(st.integers(0, 2**32), st.sampled_from([1, 2, 3]))
def test_the_variance_sums_over_all_pairs_of_samples_that_share_a_source(seed, k):
    draw = np.random.default_rng(seed)
    sources, values = draw.integers(0, 9, (40, k)), draw.standard_normal(40)
    count = len(np.unique(sources))
    factor = count / (count - 1)
    factor *= 1 if k == 1 else count**2 / (count**2 - 3 * count + 3)
    centred = (values - values.mean()) / 40 * math.sqrt(factor)
    shows = [set(row) for row in sources.tolist()]
    expected = sum(
        centred[i] * centred[j] for i in range(40) for j in range(40) if shows[i] & shows[j]
    )
    found = compute_residuals({0: values}, {0: sources}).compute_covariance()
    assert found.item() == pytest.approx(expected, abs=1e-12)


def test_samples_of_their_own_give_the_usual_variance_of_a_mean():
    values = np.random.default_rng(0).standard_normal(50)
    residuals = compute_residuals({3: values}, {3: np.arange(50)[:, None]})
    assert residuals.compute_variance().total == pytest.approx(values.var(ddof=1) / 50)
    assert residuals.df == 49


def test_seeds_on_disjoint_folds_share_nothing_and_seeds_on_one_fold_do():
    draw = np.random.default_rng(0)
    values = {seed: draw.standard_normal(60) for seed in range(4)}
    folds = {seed: np.repeat(np.arange(20), 3)[:, None] + 100 * seed for seed in range(4)}
    apart = compute_residuals(values, folds)
    assert apart.df == 4 * 20 - 4
    assert apart.compute_variance().shared == pytest.approx(0, abs=1e-15)
    single = [
        compute_residuals({seed: values[seed]}, {seed: folds[seed]}).compute_variance().total
        for seed in values
    ]
    assert apart.compute_variance().total == pytest.approx(sum(single) / 16)
    same = dict.fromkeys(values, folds[0])
    together = compute_residuals(dict.fromkeys(values, values[0]), same)
    assert together.df == 19
    variance = together.compute_variance()  # four equal values: the covariance is the variance
    assert variance.total == variance.shared == pytest.approx(single[0])


def test_folds_that_share_sources_count_as_one_in_the_degrees_of_freedom():
    draw = np.random.default_rng(0)
    values = {seed: draw.standard_normal(20) for seed in range(4)}
    shown = [(0, 1), (1, 2), (0, 2), (7, 8)]
    folds = {seed: np.repeat(pair, 10)[:, None] for seed, pair in enumerate(shown)}
    assert compute_residuals(values, folds).df == 5 - 2


def test_a_fold_of_one_source_has_an_unknown_variance():
    values = {0: np.array([1.0, 2.0, 4.0])}
    residuals = compute_residuals(values, {0: np.zeros((3, 1), dtype=np.int64)})
    assert math.isnan(residuals.compute_variance().total)
    known = compute_residuals(values, {0: np.arange(3)[:, None]})
    both = {("a", "x"): residuals.average(), ("b", "x"): known.average()}
    [pooled] = compute_pooled_variances(both, [[pair] for pair in both])
    assert math.isnan(pooled.total)
    assert math.isnan(pooled.shared)
    assert math.isnan(compute_t_interval([0.1, 0.2, 0.4], draws=[pooled]).low)
    assert math.isnan(compute_p_different([0.1, 0.2, 0.4], [pooled]))


def test_models_share_the_draw_of_a_data_set():
    draw = np.random.default_rng(0)
    sources = {0: np.repeat(np.arange(30), 2)[:, None]}
    values = {data: {0: draw.standard_normal(60)} for data in ("digits", "symbols")}
    residuals = {
        (model, data): compute_residuals(values[data], sources).average()
        for model in "abcd"
        for data in values
    }
    single = [residuals["a", data].compute_variance().total for data in values]
    for groups in ([[pair] for pair in residuals], [[(m, d) for d in values] for m in "abcd"]):
        pooled = compute_pooled_variances(residuals, groups)
        # All models have the same differences, so averaging over them removes nothing.
        assert [v.total for v in pooled] == pytest.approx([v / 4 for v in single])
    by_model = compute_pooled_variances(residuals, groups)
    assert [v.shared for v in by_model] == pytest.approx([v / 4 for v in single])
    assert [v.df for v in by_model] == [29, 29]
    alone = compute_pooled_variances({k: v for k, v in residuals.items() if k[1] == "digits"},
                                     [[(m, "digits")] for m in "abcd"])  # fmt: skip
    assert [v.total for v in alone] == pytest.approx([single[0]])


@pytest.mark.parametrize(("k", "step"), [(1, 2), (2, 1), (2, 2)])
def test_a_model_without_a_data_set_adds_no_variance_of_it(k, step):
    draw = np.random.default_rng(0)
    found = {
        pair: compute_residuals(
            {0: draw.standard_normal(60)}, {0: np.arange(60 * k).reshape(60, k) // step}
        ).average()
        for pair in (("a", "digits"), ("b", "symbols"), ("b", "digits"))
    }
    digits, symbols = compute_pooled_variances(
        found, [[("a", "digits")], [("b", "symbols"), ("b", "digits")]]
    )
    assert symbols.total == pytest.approx(found["b", "symbols"].compute_variance().total / 16)
    assert symbols.shared == 0
    assert digits.shared != 0


def test_the_spread_and_the_shared_draw_add_up_to_the_variance_of_the_mean():
    """Simulate values that share samples, with two sources per sample."""
    draw = np.random.default_rng(0)
    means, estimates, spreads = [], [], []
    for _ in range(300):
        sources = draw.integers(0, 25, (60, 2))
        effect = draw.standard_normal(25)
        values = {
            seed: effect[sources].sum(axis=1) + draw.standard_normal() + draw.standard_normal(60)
            for seed in range(4)
        }
        found = compute_residuals(values, dict.fromkeys(values, sources)).compute_variance()
        each = [value.mean() for value in values.values()]
        means.append(np.mean(each))
        spreads.append(np.var(each, ddof=1) / 4)
        estimates.append(spreads[-1] + found.shared)
    assert np.mean(estimates) == pytest.approx(np.var(means), rel=0.15)
    assert np.mean(spreads) < 0.8 * np.var(means)
