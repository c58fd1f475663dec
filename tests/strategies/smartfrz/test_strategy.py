"""Tests of SmartFRZ and its recorder on a tiny network: decisions, resume, cost."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from bench.errors import UserError
from bench.strategy_api.strategy import Decision
from bench.strategy_api.view import View
from strategies.smartfrz.features import FEATURES
from strategies.smartfrz.predictor import Predictor, count_prediction_flops
from strategies.smartfrz.predictor_file import Trained, load_predictor, save_predictor
from strategies.smartfrz.strategy import SmartFRZ
from strategies.smartfrz.training.corpus import make_tokens
from strategies.smartfrz.training.recorder import Record
from tests.support.tiny_view import build_tiny_net, build_tiny_view, train_a_step

torch.set_num_threads(1)

OPTIONS: dict[str, Any] = {
    "window": 6,
    "tailored": 16,
    "snapshots_per_epoch": 5,
    "stages_per_epoch": 2,
    "features": "cascade",
    "threshold": 0.5,
}


def write_predictor(tmp_path: Path, seed: int = 0, **facts: Any) -> Path:
    """Write a file with an untrained predictor, whose P(freeze) differs between layers."""
    torch.manual_seed(seed)
    network = Predictor(FEATURES[str(OPTIONS["features"])].width(16))
    path = tmp_path / "predictor.safetensors"
    known = {k: v for k, v in OPTIONS.items() if k != "stages_per_epoch"}
    others = {"data": [], "rule": {}, "label_warmup": 0.1}
    save_predictor(path, Trained(network, {**known, **others, **facts}))
    return path


@pytest.fixture
def view(tmp_path: Path) -> View:
    return build_tiny_view(build_tiny_net(), {"predictor": write_predictor(tmp_path)})


def start_strategy(view: View, **options: Any) -> SmartFRZ:
    strategy = SmartFRZ(**{**OPTIONS, **options})
    strategy.start(view)
    return strategy


def start_run(files: dict[str, Path], **options: Any) -> tuple[View, SmartFRZ]:
    view = build_tiny_view(build_tiny_net(), files)
    return view, start_strategy(view, **options)


def run(view: View, strategy: SmartFRZ, steps: int, freeze: bool = False) -> list[Any]:
    """Train for some steps as the runner does, and return all decisions by stage."""
    seen = []
    for _ in range(steps):
        train_a_step(view, seed=view.step)
        if strategy.observations().due(view.step, view.steps_per_epoch):
            strategy.observe(view)
        if strategy.stages().due(view.step, view.steps_per_epoch):
            decisions = strategy.decide(view)
            seen.append([(view.step, d.layer, d.freeze, d.score) for d in decisions])
            if freeze:
                view.frozen |= {d.layer for d in decisions if d.freeze}
    return seen


def compute_probabilities(
    path: Path, snapshots: list[list[torch.Tensor]], positions: list[tuple[float, float]]
) -> list[list[float]]:
    """Return P(freeze) of each layer after each snapshot, computed in one batch of all windows.

    positions: progress and relative learning rate (lr / base_lr) at each snapshot.
    """
    trace = {
        "snapshots": torch.stack([torch.stack(s) for s in snapshots]),
        "progress": torch.tensor([p[0] for p in positions]),
        "rate": torch.tensor([p[1] for p in positions]),
    }
    tokens, _ = make_tokens(trace, "cascade", OPTIONS["window"])
    width, count = OPTIONS["window"], len(tokens)
    padded = torch.cat([tokens.new_zeros(width - 1, *tokens.shape[1:]), tokens])
    windows = torch.stack([padded[i : i + width].transpose(0, 1) for i in range(count)])
    filled = torch.arange(width) >= width - 1 - torch.arange(count)[:, None]
    network = load_predictor(path, torch.device("cpu")).network
    logits = network(windows.flatten(0, 1), filled.repeat_interleave(windows.shape[1], 0))
    return logits.softmax(1)[:, 1].view(count, -1).tolist()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> View:
    """Return a view that tests copy, because finding its layers and FLOPs takes long."""
    path = write_predictor(tmp_path_factory.mktemp("predictor"))
    return build_tiny_view(build_tiny_net(), {"predictor": path})


@settings(max_examples=100, deadline=None)
@given(
    freeze_at=st.integers(1, 30),
    every=st.integers(1, 4),
    stage=st.integers(3, 8),
    seed=st.integers(0, 10**6),
)
def test_decisions_equal_those_computed_from_the_whole_history(
    shared: View, freeze_at: int, every: int, stage: int, seed: int
) -> None:
    """Check that the displacement of layer 0, frozen at step `freeze_at`, counts for later layers.

    every: steps from one snapshot to the next. stage: steps from one freezing stage to the next.
    """
    shared._model.load_state_dict(build_tiny_net(seed).state_dict())
    view = dataclasses.replace(shared)
    strategy = start_strategy(view, warmup=0.0)
    taken: list[list[torch.Tensor]] = []
    positions: list[tuple[float, float]] = []
    decided: list[tuple[int, frozenset[int], list[Decision]]] = []

    def take() -> None:
        rate = view.lr / view.base_lr if view.step else 1.0
        positions.append((view.step / view.total_steps, rate))
        taken.append(
            [
                view.weights(i)[0].flatten()[strategy._history._tailor.indices[i]].clone()
                for i in (0, 1)
            ]
        )

    take()
    for _ in range(20):
        train_a_step(view, seed=seed + view.step)
        if view.step % every == 0:
            strategy.observe(view)
            take()
        if view.step == freeze_at:
            view.frozen = frozenset({0})
        if view.step % stage == 0:
            decided.append((len(taken), view.frozen, list(strategy.decide(view))))
    found = compute_probabilities(shared.artifacts["predictor"], taken, positions)
    for count, frozen, decisions in decided:
        expected = {i: p for i, p in enumerate(found[count - 1]) if i not in frozen}
        assert {d.layer: d.score for d in decisions} == pytest.approx(expected, abs=1e-5)
        for decision in decisions:
            p = expected[decision.layer]
            assert decision.freeze == (p >= 0.5) or abs(p - 0.5) < 1e-5


def test_layers_freeze_at_the_threshold_and_the_head_gets_no_decision(view: View) -> None:
    low = start_strategy(view, threshold=1e-9, warmup=0.0)
    assert [(d.layer, d.freeze, d.threshold) for d in low.decide(view)] == [
        (0, True, 1e-9),
        (1, True, 1e-9),
    ]
    high = start_strategy(view, threshold=1.0, warmup=0.0)
    assert not any(d.freeze for d in high.decide(view))


def test_threshold_zero_means_that_of_the_predictor_file(tmp_path: Path) -> None:
    view = build_tiny_view(
        build_tiny_net(), {"predictor": write_predictor(tmp_path, threshold=0.77)}
    )
    strategy = start_strategy(view, threshold=0.0, warmup=0.0)
    assert {d.threshold for d in strategy.decide(view)} == {0.77}


def test_freezing_a_later_layer_does_not_change_the_score_of_an_earlier_one(view: View) -> None:
    strategy = start_strategy(view)
    run(view, strategy, 12)
    before = {d.layer: d.score for d in strategy.decide(view)}
    view.frozen = frozenset({1})
    after = strategy.decide(view)
    assert [d.layer for d in after] == [0]
    assert after[0].score == pytest.approx(before[0], abs=1e-6)
    state = strategy.state_dict()
    assert [len(state[key]["ring"][0]) for key in ("snapshots", "tokens", "encoded")] == [2, 1, 1]
    view.frozen = frozenset({0, 1})
    run(view, strategy, 5)
    assert strategy.decide(view) == ()


def test_there_are_no_decisions_in_the_epochs_of_the_option_warmup(view: View) -> None:
    stages = run(view, start_strategy(view, warmup=1.5), 20)
    assert [bool(decisions) for decisions in stages] == [False, False, True, True]


@pytest.mark.parametrize("killed", [1, 7, 10, 13])
def test_a_resumed_run_gives_the_same_decisions(tmp_path: Path, killed: int) -> None:
    files = {"predictor": write_predictor(tmp_path, seed=6)}
    scores = sorted(d[3] for stage in run(*start_run(files), 30) for d in stage)
    limit = {"threshold": scores[len(scores) // 2]}
    expected = run(*start_run(files, **limit), 30, freeze=True)
    freezes = [freeze for stage in expected for _, _, freeze, _ in stage]
    assert any(freezes)
    assert not all(freezes)

    view, first = start_run(files, **limit)
    seen = run(view, first, killed, freeze=True)
    state = first.state_dict()
    second = SmartFRZ(**{**OPTIONS, **limit})
    second.start(view)
    second.load_state_dict(state)
    seen += run(view, second, 30 - killed, freeze=True)
    assert seen == expected


def test_cost_counts_the_encoding_of_each_token_once(view: View) -> None:
    strategy = start_strategy(view, warmup=0.0)
    run(view, strategy, 10)  # stages after 5 and 10 steps, with 3 new tokens each
    width = FEATURES["cascade"].width(16)
    assert strategy.cost() == 2 * (
        count_prediction_flops(width, 3, 3) + count_prediction_flops(width, 6, 3)
    )


def test_a_predictor_trained_for_other_options_is_an_error(view: View) -> None:
    for key, value in (("window", 7), ("tailored", 32), ("features", "travel")):
        with pytest.raises(UserError, match=f"{key} = .*predictor train"):
            start_strategy(view, **{key: value})


def test_tokens_from_a_recording_equal_those_of_the_strategy(tmp_path: Path) -> None:
    reference = tmp_path / "reference.safetensors"
    save_file(build_tiny_net(1).state_dict(), reference)
    files = {"reference": reference, "predictor": write_predictor(tmp_path)}
    view = build_tiny_view(build_tiny_net(), files)
    record = Record(tailored=16, snapshots_per_epoch=5, samples=16, batch=8)
    record.start(view)
    strategy = start_strategy(view)
    for _ in range(20):
        train_a_step(view, seed=view.step)
        for each in (record, strategy):
            if each.observations().due(view.step, view.steps_per_epoch):
                each.observe(view)
            if each.stages().due(view.step, view.steps_per_epoch):
                each.decide(view)
    trace = record.trace()
    assert trace["snapshots"].shape == (11, 2, 16)
    assert trace["cka"].shape == trace["cka_biased"].shape == (5, 2)
    assert trace["probes"].tolist() == [0, 0.05, 0.1, 0.15, 0.2]
    tokens, _ = make_tokens(trace, "cascade", OPTIONS["window"])
    torch.testing.assert_close(tokens[-6:], strategy._history.tokens.last(6), rtol=0, atol=0)

    again = Record(tailored=16, snapshots_per_epoch=5, samples=16, batch=8)
    again.start(view)
    again.load_state_dict(record.state_dict())
    torch.testing.assert_close(again.trace(), trace, rtol=0, atol=0)
    assert again.cost() == record.cost()
