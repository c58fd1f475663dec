"""Tests of metrics: they equal those of scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, matthews_corrcoef

from bench.data.interface.metrics import (
    compute_accuracy,
    compute_contributions,
    compute_matthews,
)

PAIRS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=60)


@pytest.mark.filterwarnings("ignore")  # scikit-learn warns if undefined; it returns 0 too
@given(PAIRS)
def test_metrics_agree_with_scikit_learn(pairs):
    predicted, truth = torch.tensor(pairs).T
    assert compute_matthews(predicted, truth) == pytest.approx(
        100 * matthews_corrcoef(truth, predicted)
    )
    assert compute_accuracy(predicted, truth) == pytest.approx(
        100 * accuracy_score(truth, predicted)
    )


@pytest.mark.filterwarnings("ignore")
@given(PAIRS)
def test_the_mean_contribution_of_the_samples_is_the_score(pairs):
    said, truth = np.array(pairs, dtype=bool).T
    for metric, score in (("accuracy", accuracy_score), ("matthews", matthews_corrcoef)):
        found = compute_contributions(metric, said == truth, truth)
        assert found.shape == truth.shape
        assert found.mean() == pytest.approx(100 * score(truth, said), abs=1e-9)


def test_contributions_give_the_sampling_error_of_the_matthews_correlation():
    draw = np.random.default_rng(0)
    scores, errors = [], []
    for _ in range(2000):
        truth = draw.random(400) < 0.7
        said = truth ^ (draw.random(400) < np.where(truth, 0.05, 0.3))
        contributions = compute_contributions("matthews", said == truth, truth)
        scores.append(contributions.mean())
        errors.append(contributions.std(ddof=1) / np.sqrt(400))
    assert np.mean(errors) == pytest.approx(np.std(scores), rel=0.05)
