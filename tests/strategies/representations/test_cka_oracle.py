"""Tests of the CKA oracle and of the reference that it compares a run with."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from bench.errors import UserError
from bench.strategy_api.view import View
from strategies.representations.cka_oracle import CKAOracle
from strategies.representations.reference import Reference
from strategies.representations.similarity import compute_linear_cka
from tests.support.tiny_view import build_tiny_net, build_tiny_view


@pytest.fixture
def view(tmp_path: Path) -> View:
    path = tmp_path / "reference.safetensors"
    save_file(build_tiny_net(1).state_dict(), path)
    return build_tiny_view(build_tiny_net(0), {"reference": path})


def script_cka(monkeypatch: pytest.MonkeyPatch, curves: list[list[float]]) -> None:
    """Replace Reference.cka, so that each call returns the next row of `curves`."""
    rows = iter(curves)

    def cka(self: Reference, view: View, layers: list[int]) -> torch.Tensor:
        row = torch.tensor(next(rows), dtype=torch.float64)[layers]
        return torch.stack((row, row - 1))

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
    values = Reference(equal, samples=16, batch=4).cka(equal, [0, 1, 2])
    torch.testing.assert_close(values, torch.ones(2, 3, dtype=torch.float64))

    other = Reference(view, samples=32, batch=32).cka(view, [1])
    state = build_tiny_net(1).state_dict()
    x, y = view.outputs(view.probe(32))[1], view.outputs(view.probe(32), state)[1]
    assert float(other[1, 0]) == pytest.approx(compute_linear_cka(x, y))


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


def test_bad_reference_files_give_a_one_line_error(view: View, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"not a model")
    other = tmp_path / "other.safetensors"
    save_file(nn.Linear(2, 2).state_dict(), other)
    for path in (damaged, other, tmp_path / "missing.safetensors"):
        with pytest.raises(UserError, match=path.name) as error:
            CKAOracle(samples=8, batch=4).start(build_tiny_view(view._model, {"reference": path}))
        assert "\n" not in str(error.value)
