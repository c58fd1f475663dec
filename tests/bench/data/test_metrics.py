"""Tests of metrics: they equal those of scikit-learn."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, matthews_corrcoef

from bench.data.interface.metrics import compute_accuracy, compute_matthews

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
