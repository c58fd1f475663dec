"""Tests of CKA and of the HSIC estimators."""

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from strategies.representations.similarity import (
    compute_cka,
    compute_gram,
    estimate_hsic0,
    estimate_hsic1,
)
from tests.support.linear_cka import compute_linear_cka


def draw(n: int, p: int, seed: int) -> torch.Tensor:
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_eq5_equals_manual_calculation() -> None:
    # x and y are centred. ‖yᵀx‖² = ‖[2, -2]‖² = 8, ‖xᵀx‖ = ‖diag(2, 2)‖ = √8, ‖yᵀy‖ = 4.
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    y = torch.tensor([[1.0], [-1.0], [-1.0], [1.0]])
    cka = compute_cka([(compute_gram(x), compute_gram(y))], estimate_hsic0)
    assert float(cka) == pytest.approx(8 / (8**0.5 * 4))
    assert compute_linear_cka(x, y) == pytest.approx(8 / (8**0.5 * 4))


def test_cka_does_not_depend_on_an_offset_of_the_outputs() -> None:
    x, y = draw(10, 3, 0), draw(10, 5, 1)
    assert compute_linear_cka(x + 100, y - 7) == pytest.approx(compute_linear_cka(x, y), rel=1e-9)
    shifted = compute_cka([(compute_gram(x + 100), compute_gram(y - 7))], estimate_hsic1)
    assert float(shifted) == pytest.approx(
        float(compute_cka([(compute_gram(x), compute_gram(y))], estimate_hsic1)), rel=1e-9
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 12), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_kernel_form_equals_feature_form(n: int, p: int, q: int, seed: int) -> None:
    x, y = draw(n, p, seed), draw(n, q, seed + 1)
    assert float(
        compute_cka([(compute_gram(x), compute_gram(y))], estimate_hsic0)
    ) == pytest.approx(compute_linear_cka(x, y), rel=1e-8)


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 6), st.integers(0, 99))
def test_hsic1_equals_the_mean_over_quadruples_of_samples(n: int, seed: int) -> None:
    x, y = draw(n, 2, seed), draw(n, 3, seed + 1)
    k, ell = x @ x.T, y @ y.T
    values = [
        k[t, u] * (ell[t, u] + ell[v, w] - 2 * ell[t, v])
        for t, u, v, w in permutations(range(n), 4)
    ]
    assert float(estimate_hsic1(k, ell)) == pytest.approx(
        float(torch.stack(values).mean()), abs=1e-9
    )


def test_eq5_is_biased_by_many_features_and_hsic1_is_not() -> None:
    x, y = draw(200, 4096, 0), draw(200, 4096, 1)
    grams = [(compute_gram(x), compute_gram(y))]
    assert float(compute_cka(grams, estimate_hsic0)) == pytest.approx(0.95, abs=0.01)
    assert abs(float(compute_cka(grams, estimate_hsic1))) < 0.02


def test_cka_of_equal_outputs_is_one_up_to_rotation_and_scale() -> None:
    x = draw(12, 5, 0)
    turn = torch.linalg.qr(draw(5, 5, 1))[0]
    for hsic in (estimate_hsic0, estimate_hsic1):
        assert float(
            compute_cka([(compute_gram(x), compute_gram(3 * x @ turn))], hsic)
        ) == pytest.approx(1)


def test_hsic_is_averaged_over_batches_before_the_ratio() -> None:
    pairs = [(compute_gram(draw(8, 4, i)), compute_gram(draw(8, 6, i + 10))) for i in range(3)]
    xy = sum(estimate_hsic1(k, ell) for k, ell in pairs)
    xx = sum(estimate_hsic1(k, k) for k, _ in pairs)
    yy = sum(estimate_hsic1(ell, ell) for _, ell in pairs)
    assert float(compute_cka(pairs, estimate_hsic1)) == pytest.approx(float(xy / (xx * yy) ** 0.5))


def test_cka_of_stacked_layers_equals_cka_of_single_layers() -> None:
    pairs = [(compute_gram(draw(8, 4, i)), compute_gram(draw(8, 6, i + 10))) for i in range(3)]
    together = compute_cka(
        [(torch.stack([k for k, _ in pairs]), torch.stack([e for _, e in pairs]))], estimate_hsic1
    )
    alone = torch.stack([compute_cka([pair], estimate_hsic1) for pair in pairs])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=0)


def test_constant_outputs_give_nan_and_too_few_samples_an_error() -> None:
    still, moving = torch.ones(6, 3), draw(6, 3, 0)
    for hsic in (estimate_hsic0, estimate_hsic1):
        assert torch.isnan(compute_cka([(compute_gram(still), compute_gram(moving))], hsic))
    with pytest.raises(ValueError, match="4 samples"):
        estimate_hsic1(torch.eye(3), torch.eye(3))
