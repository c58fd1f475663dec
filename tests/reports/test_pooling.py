"""Tests of intervals and p values over pairs of model and data set, by simulation."""

import numpy as np
import pytest

from reports.pooling import compute_largest_p, compute_widest_interval
from reports.sampling import compute_residuals
from reports.statistics import (
    MARGIN,
    compute_p_different,
    compute_p_no_worse,
    compute_t_interval,
)

PAIRS = [(model, data) for model in "abcd" for data in ("10", "100")]


def draw_pairs(generator, model_sd, pair_sd=0.5):
    """Return one difference per pair: an effect of its model plus its own effect, with mean 0."""
    models = dict(zip("abcd", model_sd * generator.standard_normal(4), strict=True))
    return {pair: models[pair[0]] + pair_sd * generator.standard_normal() for pair in PAIRS}


@pytest.mark.parametrize("model_sd", [0.0, 0.5, 1.0])
def test_the_interval_that_claims_rest_on_covers_effects_that_vary_by_model(model_sd):
    generator = np.random.default_rng(0)
    draws = [draw_pairs(generator, model_sd) for _ in range(4000)]
    widest = [compute_widest_interval(values) for values in draws]
    pairs = [compute_t_interval(list(values.values())) for values in draws]
    covered = [
        sum(interval.low <= 0 <= interval.high for interval in some) / 4000
        for some in (widest, pairs)
    ]
    assert covered[0] >= 0.93
    assert all(w.low <= p.low and w.high >= p.high for w, p in zip(widest, pairs, strict=True))
    if model_sd == 1.0:
        assert covered[1] < 0.90  # the interval over the pairs alone is too narrow


def test_the_larger_p_value_agrees_with_the_widest_interval():
    generator = np.random.default_rng(1)
    for _ in range(500):
        values = draw_pairs(generator, 0.3)
        interval = compute_widest_interval(values)
        p = compute_largest_p(compute_p_no_worse, values)
        assert (p < 0.025) == (interval.low > -MARGIN)
        p = compute_largest_p(compute_p_different, values)
        assert (p < 0.05) == (interval.low > 0 or interval.high < 0)


def test_fewer_than_three_models_leave_the_interval_over_the_pairs():
    values = {("a", "10"): 0.1, ("a", "100"): 0.2, ("b", "10"): 0.4, ("b", "100"): 0.6}
    assert compute_widest_interval(values) == compute_t_interval(list(values.values()))
    assert compute_largest_p(compute_p_different, values) == compute_p_different(
        list(values.values())
    )


SETS = {"digits": (20, 3), "symbols": (3, 20)}  # sources per fold, samples of each source


def draw_seeds(generator, dataset, shared, *, seeds=5, folds=5, training=0.3, own=1.0, noise=2.0):
    """Return the mean difference of each seed, and the residuals of the samples, for one model.

    The true mean is 0.

    shared: effect of each source on all models, (folds, sources). training: sd of an effect of each
    run. own: sd of an effect of each source on this model. noise: sd of each sample. A seed is
    evaluated on the samples of fold seed mod folds.
    """
    count, each = SETS[dataset]
    effects = shared + own * generator.standard_normal(shared.shape)
    values, sources = {}, {}
    for seed in range(seeds):
        fold = seed % folds
        samples = np.repeat(effects[fold], each) + noise * generator.standard_normal(count * each)
        values[seed] = samples + training * generator.standard_normal()
        sources[seed] = (count * fold + np.repeat(np.arange(count), each))[:, None]
    return [value.mean() for value in values.values()], compute_residuals(values, sources)


def is_inside(interval, truth=0.0):
    return interval.low <= truth <= interval.high


@pytest.mark.parametrize(
    ("how", "plain_covers"),
    [
        ({}, True),  # five seeds test five folds: the spread of the seeds shows everything
        ({"folds": 1}, False),
        ({"seeds": 10}, False),
        ({"folds": 1, "training": 1.6, "seeds": 10}, False),
    ],
    ids=str,
)
def test_the_interval_of_a_pair_covers_the_seeds_and_the_test_draw(how, plain_covers):
    generator = np.random.default_rng(0)
    new, plain = [], []
    for _ in range(300):
        shared = 2 * generator.standard_normal((5, SETS["digits"][0]))
        values, residuals = draw_seeds(generator, "digits", shared, **how)
        draws = [residuals.compute_variance()]
        new.append(compute_t_interval(values, draws=draws))
        plain.append(compute_t_interval(values))
        assert new[-1].low <= plain[-1].low <= plain[-1].high <= new[-1].high
        p = compute_p_different(values, draws)
        assert (p < 0.05) == (not is_inside(new[-1]))
    assert sum(map(is_inside, new)) / 300 >= 0.93
    assert (sum(map(is_inside, plain)) / 300 >= 0.93) == plain_covers


def test_the_draw_alone_widens_an_interval_of_seeds_that_agree_by_chance():
    generator = np.random.default_rng(0)
    values, residuals = draw_seeds(generator, "digits", np.zeros((5, 20)), training=0)
    middle = float(np.mean(values))
    variance = residuals.compute_variance()
    interval = compute_t_interval([middle] * 5, draws=[variance])
    assert interval.high - middle == pytest.approx(
        1.985 * variance.total**0.5,
        rel=1e-3,  # 97.5 % quantile of t with 95 degrees of freedom
    )
    assert residuals.df == interval.df == 95


@pytest.mark.parametrize(
    ("model_sd", "training", "source_sd", "own"),
    [(0.5, 0.3, 2.0, 1.0), (0.0, 0.0, 3.0, 0.0)],
    ids=["effects of models, seeds and sources", "effects of sources only"],
)
def test_the_pooled_interval_covers_models_seeds_and_the_test_draw(
    model_sd, training, source_sd, own
):
    generator = np.random.default_rng(0)
    new, plain = [], []
    for _ in range(100):
        shared = {
            data: source_sd * generator.standard_normal((5, count))
            for data, (count, _) in SETS.items()
        }
        models = dict(zip("abcd", model_sd * generator.standard_normal(4), strict=True))
        means, residuals = {}, {}
        for model, effect in models.items():
            for data in SETS:
                found = draw_seeds(generator, data, shared[data], training=training, own=own)
                means[model, data] = effect + float(np.mean(found[0]))
                residuals[model, data] = found[1].average()
        new.append(compute_widest_interval(means, residuals))
        plain.append(compute_widest_interval(means))
        assert new[-1].low <= plain[-1].low <= plain[-1].high <= new[-1].high
        p = compute_largest_p(compute_p_no_worse, means, residuals)
        assert (p < 0.025) == (new[-1].low > -MARGIN)
    assert sum(map(is_inside, new)) / 100 >= 0.93
    assert sum(map(is_inside, plain)) / 100 < 0.93  # the draw moves all models together
