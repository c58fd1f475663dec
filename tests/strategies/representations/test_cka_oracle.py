"""Tests of the CKA oracle and of the reference that it compares a run with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from bench.errors import UserError
from bench.layers.discovery import find_layers
from bench.strategy_api.view import View
from strategies.representations.cka_oracle import CKAOracle
from strategies.representations.reference import Reference
from strategies.representations.similarity import (
    compute_cka,
    compute_gram,
    estimate_hsic1,
)
from tests.support.hand_view import HandView
from tests.support.linear_cka import compute_linear_cka
from tests.support.tiny_view import build_tiny_net, build_tiny_view


@pytest.fixture
def view(tmp_path: Path) -> View:
    path = tmp_path / "reference.safetensors"
    save_file(build_tiny_net(1).state_dict(), path)
    return build_tiny_view(build_tiny_net(0), {"reference": path})


def script_cka(monkeypatch: pytest.MonkeyPatch, curves: list[list[float]]) -> None:
    """Replace Reference.cka, so that each call returns the next row of `curves` as unbiased CKA.

    The biased CKA is lower by 1.
    """
    script_rows(monkeypatch, np.stack([(row, np.array(row) - 1) for row in curves]))


def script_rows(monkeypatch: pytest.MonkeyPatch, values: np.ndarray) -> None:
    """Replace Reference.cka, so that each call returns the next pair of rows in `values`.

    values: (calls, 2, layers). The first row is the unbiased CKA, the second the biased one.
    """
    rows = iter(values)

    def cka(self: Reference, view: View, layers: list[int]) -> torch.Tensor:
        return torch.tensor(next(rows), dtype=torch.float64)[:, layers]

    monkeypatch.setattr(Reference, "cka", cka)


def test_decisions_equal_those_computed_manually(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    # CKA values, k = 3, ε = 0.05               layer 0          layer 1
    # before training                            0.50             0.90
    # epoch 1: only two values                   0.70             0.92
    # epoch 2: ranges 0.30, 0.03; 1 freezes      0.80             0.89
    # epoch 3: range 0.13                        0.83
    # epoch 4: range 0.04; 0 freezes             0.79
    script_cka(monkeypatch, [[0.5, 0.9], [0.7, 0.92], [0.8, 0.89], [0.83, 0], [0.79, 0]])
    oracle = CKAOracle(k=3, epsilon=0.05)
    oracle.start(view)
    seen = []
    for epoch in range(1, 5):
        view.step = 10 * epoch
        decisions = oracle.decide(view)
        view.frozen |= {d.layer for d in decisions if d.freeze}
        seen.append([(d.layer, d.freeze, round(d.score, 6), d.threshold) for d in decisions])
    assert seen == [
        [],
        [(0, False, 0.3, 0.05), (1, True, 0.03, 0.05)],
        [(0, False, 0.13, 0.05)],
        [(0, True, 0.04, 0.05)],
    ]
    trace = oracle.trace()
    assert trace["steps"].tolist() == [0, 10, 20, 30, 40]
    assert trace["cka"][:, 0].tolist() == [0.5, 0.7, 0.8, 0.83, 0.79]
    assert trace["cka"][3:, 1].isnan().all()
    assert "cka_biased" not in trace  # it is computed only if it decides


SPREADS = {
    "range": np.ptp,
    "std": lambda last: np.std(last, ddof=1),
    "drift": lambda last: abs(last[-1] - last[0]),
}


@settings(max_examples=150, deadline=None)
@given(
    layers=st.integers(1, 8),
    k=st.integers(2, 6),
    epsilon=st.floats(0.005, 0.2),
    spread=st.sampled_from(list(SPREADS)),
    estimator=st.sampled_from(["unbiased", "biased"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_decisions_equal_the_rule(
    layers: int, k: int, epsilon: float, spread: str, estimator: str, seed: int
) -> None:
    steps = np.random.default_rng(seed).normal(size=(12, layers)) * epsilon
    curves = 0.5 + np.cumsum(steps * np.linspace(2, 0.1, 12)[:, None], axis=0)
    view, frozen = HandView([1] * (layers + 1)), set[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reference, "__init__", lambda self, *_, **__: setattr(self, "flops", 0.0))
        # The other row of the values is noise, which must not decide.
        other = np.random.default_rng(seed + 1).normal(size=curves.shape)
        rows = {"unbiased": (curves, other), "biased": (other, curves)}[estimator]
        script_rows(patch, np.stack(rows, axis=1))
        oracle = CKAOracle(k=k, epsilon=epsilon, spread=spread, estimator=estimator)
        oracle.start(view)
        for epoch in range(1, len(curves)):
            view.step = 10 * epoch
            assert oracle.stages().due(view.step, 10)
            view.frozen |= {v.layer for v in oracle.decide(view) if v.freeze}
            if epoch + 1 >= k:
                last = curves[epoch + 1 - k : epoch + 1]
                frozen |= {i for i in range(layers) if SPREADS[spread](last[:, i]) < epsilon}
            assert view.frozen == frozen


@pytest.mark.parametrize(("spread", "froze"), [("range", False), ("std", False), ("drift", True)])
def test_each_spread_measure_gives_its_decision(
    view: View, monkeypatch: pytest.MonkeyPatch, spread: str, froze: bool
) -> None:
    # The values 0.5, 0.6, 0.51 have range 0.10, std 0.055 and drift 0.01.
    script_cka(monkeypatch, [[0.5, 0.5], [0.6, 0.6], [0.51, 0.51]])
    oracle = CKAOracle(k=3, epsilon=0.03, spread=spread)
    oracle.start(view)
    oracle.decide(view)
    assert {d.freeze for d in oracle.decide(view)} == {froze}


def test_cka_with_an_equal_model_is_one_and_the_biased_row_equals_eq5(
    view: View, tmp_path: Path
) -> None:
    path = tmp_path / "self.safetensors"
    save_file(view._model.state_dict(), path)
    equal = build_tiny_view(view._model, {"reference": path})
    values = Reference(equal, samples=16, batch=4, biased=True).cka(equal, [0, 1, 2])
    torch.testing.assert_close(values, torch.ones(2, 3, dtype=torch.float64))


def test_eq5_compares_all_samples_and_hsic1_is_averaged_over_batches(view: View) -> None:
    probe, state = view.probe(32)[0], build_tiny_net(1).state_dict()
    x, y = view.outputs((probe,))[1], view.outputs((probe,), state)[1]
    batches = [slice(i, i + 8) for i in range(0, 32, 8)]
    found = Reference(view, samples=32, batch=8, biased=True).cka(view, [1])
    assert float(found[1, 0]) == pytest.approx(compute_linear_cka(x, y))
    # Eq. 5 within batches would be biased: with 64 features, 8 samples hardly differ.
    by_batch = sum(compute_linear_cka(x[b], y[b]) for b in batches) / 4
    assert by_batch > compute_linear_cka(x, y) + 0.1
    pairs = [(compute_gram(x[b]), compute_gram(y[b])) for b in batches]
    assert float(found[0, 0]) == pytest.approx(float(compute_cka(pairs, estimate_hsic1)))
    without = Reference(view, samples=32, batch=8).cka(view, [1])
    assert float(without[0, 0]) == pytest.approx(float(found[0, 0]))
    assert without[1].isnan().all()


def test_eq5_of_a_worked_example_in_two_batches(tmp_path: Path) -> None:
    # The model passes its input on, so x is the input. The reference swaps the features and doubles
    # one: y = (x₂, 2 x₁). Centred, all eight samples have xᵀx = diag(8, 4), because x₁ = ±1 and
    # x₂ = ±1 in four of them. Then ‖yᵀx‖² = (2 · 8)² + 4² = 272, ‖xᵀx‖ = √(64 + 16) = √80 and
    # ‖yᵀy‖ = ‖diag(4, 32)‖ = √1040. In batches of four, x₂ is constant in the second one.
    x = torch.tensor([[1, 1], [1, -1], [-1, 1], [-1, -1], [1, 0], [1, 0], [-1, 0], [-1, 0]])
    model, other = (nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 3)) for _ in range(2))
    model[0].weight.data = torch.eye(2)
    other[0].weight.data = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    path = tmp_path / "reference.safetensors"
    save_file(other.state_dict(), path)
    layers = find_layers(model, (x[:1].float(),))
    view = build_tiny_view(
        build_tiny_net(), {"reference": path}, layers=layers, _model=model,
        _probe=lambda n: (x[:n].float(),),
    )  # fmt: skip
    values = Reference(view, samples=8, batch=4, biased=True).cka(view, [0])
    assert float(values[1, 0]) == pytest.approx(272 / (80**0.5 * 1040**0.5))


@pytest.mark.parametrize(("samples", "sizes"), [(16, [8, 8]), (18, [8, 10]), (20, [8, 8, 4])])
def test_no_sample_of_the_probe_is_left_out(view: View, samples: int, sizes: list[int]) -> None:
    reference = Reference(view, samples=samples, batch=8)
    assert [len(images) for (images,) in reference._batches] == sizes


def test_measuring_cka_costs_flops_and_changes_no_tensor_of_the_model(view: View) -> None:
    before = {k: v.clone() for k, v in view._model.state_dict().items()}
    oracle = CKAOracle(samples=16, batch=8)
    oracle.start(view)
    outputs = 16 * 2 * 8 * (4 * 36 + 4 * 16)  # kernels of the two layers that may freeze
    head = 16 * 2 * 8 * 5  # the reference also computes a kernel of the head
    assert oracle.cost() == 2 * 16 * view.flops.exact().forward + 2 * outputs + head
    oracle.decide(view)
    assert oracle.cost() == 3 * 16 * view.flops.exact().forward + 3 * outputs + head
    for key, value in view._model.state_dict().items():
        assert torch.equal(value, before[key])


def test_eq5_costs_a_kernel_over_all_samples(view: View) -> None:
    oracle = CKAOracle(samples=16, batch=8, estimator="biased")
    oracle.start(view)
    outputs = 16 * 2 * 16 * (4 * 36 + 4 * 16)
    head = 16 * 2 * 16 * 5
    assert oracle.cost() == 2 * 16 * view.flops.exact().forward + 2 * outputs + head
    assert not oracle.trace()["cka_biased"][:, :2].isnan().any()


def test_a_resumed_oracle_gives_the_same_decisions(view: View) -> None:
    whole = CKAOracle(k=2, samples=16, batch=8)
    whole.start(view)
    whole.decide(view)
    state = whole.state_dict()
    resumed = CKAOracle(k=2, samples=16, batch=8)
    with torch.no_grad():  # load_state_dict() must override what start() measured
        view._model[0].weight.mul_(1.5)
    resumed.start(view)
    resumed.load_state_dict(state)
    assert resumed.decide(view) == whole.decide(view)
    assert resumed.cost() == whole.cost()
    torch.testing.assert_close(resumed.trace(), whole.trace(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("another error")]
)
def test_other_errors_do_not_blame_the_reference(
    view: View, error: RuntimeError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(View, "outputs", fail)
    with pytest.raises(type(error), match=str(error)):
        CKAOracle(samples=8, batch=4).start(view)


def test_bad_reference_files_give_a_one_line_error(view: View, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not a model")
    other = tmp_path / "other.safetensors"
    save_file(nn.Linear(2, 2).state_dict(), other)
    for path in (damaged, other, tmp_path / "missing.safetensors"):
        with pytest.raises(UserError, match=path.name) as error:
            CKAOracle(samples=8, batch=4).start(build_tiny_view(view._model, {"reference": path}))
        assert "\n" not in str(error.value)
