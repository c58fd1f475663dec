"""Tests of the distances between random samples and all values of a layer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from reports.runs.gradient_samples import (
    INSIDE,
    SIZES,
    TAILORED,
    build_histogram,
    compute_ks_distance,
    draw_sample,
    measure_distances,
)

# Only nine distinct values, so that ties are frequent.
LISTS = st.lists(st.integers(-4, 4).map(float), min_size=3, max_size=30)


@settings(max_examples=100, deadline=None)
@given(LISTS, LISTS)
def test_ks_distance_equals_scipys(drawn, everything):
    drawn, everything = (np.array(v, dtype=np.float32) for v in (drawn, everything))
    ours = compute_ks_distance(drawn, np.sort(everything))
    assert ours == pytest.approx(ks_2samp(drawn, everything, method="asymp").statistic, abs=1e-12)


def test_sample_has_no_repeats_unless_there_are_too_few_values():
    random = np.random.default_rng(1)
    values = np.arange(1000, dtype=np.float32)
    assert len(set(draw_sample(values, 1000, random))) == 1000
    assert len(draw_sample(values[:10], 1024, random)) == 1024


def test_distance_decreases_with_the_root_of_the_sample_size():
    values = np.random.default_rng(2).standard_normal(200_000).astype(np.float32)
    found = measure_distances(values)
    assert found["size"].tolist() == list(SIZES)
    assert (found.low < found["median"]).all()
    assert (found["median"] < found.high).all()
    # Kolmogorov's limit distribution: the median of √n × distance is 0.8276.
    np.testing.assert_allclose(found["median"] * np.sqrt(found["size"]), 0.8276, rtol=0.1)


def test_sample_of_all_values_has_distance_zero():
    values = np.random.default_rng(3).standard_normal(SIZES[-1]).astype(np.float32)
    last = measure_distances(values).iloc[-1]
    assert last["median"] == last.high == 0


def test_histogram_counts_all_and_sampled_values():
    values = np.random.default_rng(4).standard_normal(5000).astype(np.float32)
    bins = build_histogram(values)
    assert bins.everything.sum() == pytest.approx(INSIDE, abs=1e-3)
    counts = bins.sampled * TAILORED
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
    assert counts.sum() == pytest.approx(INSIDE * TAILORED, abs=12)
    assert bins.low.iloc[0] == -bins.high.iloc[-1]
    inside = (values >= bins.low[20]) & (values < bins.high[20])
    assert bins.everything[20] == pytest.approx(inside.mean(), abs=1e-3)


@pytest.mark.parametrize("others", [0, 1])
def test_histogram_of_constant_values(others):
    values = np.zeros(3000, dtype=np.float32)
    values[:others] = 7
    bins = build_histogram(values)
    assert bins.everything.sum() == pytest.approx(1)
    assert bins.high.iloc[-1] == (7 if others else 1)
