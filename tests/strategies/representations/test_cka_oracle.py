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


def scripted(monkeypatch: pytest.MonkeyPatch, curves: list[list[float]]) -> None:
    """Let the CKA of the layers that are asked for follow a script, one row a stage."""
    rows = iter(curves)

    def cka(self: Reference, view: View, layers: list[int]) -> torch.Tensor:
        row = torch.tensor(next(rows), dtype=torch.float64)[layers]
        return torch.stack((row, row - 1))

    monkeypatch.setattr(Reference, "cka", cka)


def test_decisions_follow_a_trace_worked_out_by_hand(
    view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ranges of the last 3 with ε = 0.05:       layer 0          layer 1
    # before training                            0.50             0.90
    # epoch 1, two values only                   0.70             0.92
    # epoch 2: 0.30 / 0.03, 1 freezes first      0.80             0.89
    # epoch 3: 0.13                              0.83
    # epoch 4: 0.04, freezes                     0.79
    scripted(monkeypatch, [[0.5, 0.9], [0.7, 0.92], [0.8, 0.89], [0.83, 0], [0.79, 0]])
    oracle = CKAOracle(k=3, epsilon=0.05)
    oracle.start(view)
    seen = []
    for epoch in range(1, 5):
        view.step = 10 * epoch
        verdicts = oracle.decide(view)
        view.frozen |= {v.layer for v in verdicts if v.freeze}
        seen.append([(v.layer, v.freeze, round(v.score, 6), v.threshold) for v in verdicts])
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
def test_spread_measures(
    view: View, monkeypatch: pytest.MonkeyPatch, spread: str, froze: bool
) -> None:
    # Last three: 0.5, 0.6, 0.51: range 0.10, std 0.055, drift 0.01.
    scripted(monkeypatch, [[0.5, 0.5], [0.6, 0.6], [0.51, 0.51]])
    oracle = CKAOracle(k=3, epsilon=0.03, spread=spread)
    oracle.start(view)
    oracle.decide(view)
    assert {v.freeze for v in oracle.decide(view)} == {froze}


def test_cka_is_one_with_oneself_and_eq5_in_a_single_batch(view: View, tmp_path: Path) -> None:
    path = tmp_path / "self.safetensors"
    save_file(view._model.state_dict(), path)
    oneself = build_tiny_view(view._model, {"reference": path})
    values = Reference(oneself, samples=16, batch=4).cka(oneself, [0, 1, 2])
    torch.testing.assert_close(values, torch.ones(2, 3, dtype=torch.float64))

    other = Reference(view, samples=32, batch=32).cka(view, [1])
    state = build_tiny_net(1).state_dict()
    x, y = view.outputs(view.probe(32))[1], view.outputs(view.probe(32), state)[1]
    assert float(other[1, 0]) == pytest.approx(compute_linear_cka(x, y))


def test_looking_costs_flops_and_changes_no_buffer(view: View) -> None:
    before = {k: v.clone() for k, v in view._model.state_dict().items()}
    oracle = CKAOracle(samples=16, batch=8)
    oracle.start(view)
    outputs = 16 * 2 * 8 * (4 * 36 + 4 * 16)  # kernels of the two layers that may freeze
    head = 16 * 2 * 8 * 5  # the reference's kernels include the head's
    assert oracle.cost() == 2 * 16 * view.flops.exact().forward + 2 * outputs + head
    oracle.decide(view)
    assert oracle.cost() == 3 * 16 * view.flops.exact().forward + 3 * outputs + head
    for key, value in view._model.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_resumed_oracle_goes_on_with_the_same_verdicts(view: View) -> None:
    whole = CKAOracle(k=2, samples=16, batch=8)
    whole.start(view)
    whole.decide(view)
    state = whole.state_dict()
    resumed = CKAOracle(k=2, samples=16, batch=8)
    with torch.no_grad():  # the state must win over what `start` sees
        view._model[0].weight.mul_(1.5)
    resumed.start(view)
    resumed.load_state_dict(state)
    assert resumed.decide(view) == whole.decide(view)
    assert resumed.cost() == whole.cost()
    torch.testing.assert_close(resumed.trace(), whole.trace(), rtol=0, atol=0, equal_nan=True)


def test_bad_references_are_refused_in_one_line(view: View, tmp_path: Path) -> None:
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"not a model")
    other = tmp_path / "other.safetensors"
    save_file(nn.Linear(2, 2).state_dict(), other)
    for path in (torn, other, tmp_path / "missing.safetensors"):
        with pytest.raises(UserError, match=path.name) as error:
            CKAOracle(samples=8, batch=4).start(build_tiny_view(view._model, {"reference": path}))
        assert "\n" not in str(error.value)
