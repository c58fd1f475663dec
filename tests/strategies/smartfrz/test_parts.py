"""Tests of SmartFRZ's parts: tailoring, ring, feature sets, network and predictor file."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from bench.errors import UserError
from strategies.smartfrz.features import FEATURES, SchedulePosition
from strategies.smartfrz.history import SnapshotRing
from strategies.smartfrz.predictor import Predictor, count_prediction_flops
from strategies.smartfrz.predictor_file import (
    REQUIRED,
    Trained,
    load_predictor,
    save_predictor,
)
from strategies.smartfrz.tailoring import Tailor, draw_indices

CPU = torch.device("cpu")


def make_generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 100), st.integers(0, 9))
def test_indices_are_valid_and_repeat_only_in_small_layers(size: int, n: int, seed: int) -> None:
    drawn = draw_indices(size, n, make_generator(seed))
    assert len(drawn) == n
    assert drawn.min() >= 0
    assert drawn.max() < size
    assert size < n or len(drawn.unique()) == n


def test_indices_are_uniform_in_a_large_layer() -> None:
    size, n = 10_000, 100
    draws = torch.cat([draw_indices(size, n, make_generator(seed)) for seed in range(400)])
    by_tenth = torch.bincount(draws // (size // 10), minlength=10) / len(draws)
    assert (by_tenth - 0.1).abs().max() < 0.01


def test_a_tailor_samples_the_same_weights_after_in_place_updates() -> None:
    weights = [
        torch.randn(6, 5, generator=make_generator()),
        torch.randn(3, generator=make_generator()),
    ]
    tailor = Tailor(weights, 8, make_generator(1))
    before, after = torch.empty(2, 8), torch.empty(2, 8)
    tailor.take([0, 1], before)
    for weight in weights:
        weight += 1
    tailor.take([0, 1], after)
    torch.testing.assert_close(after, before + 1)
    alone = torch.empty(1, 8)
    tailor.take([1], alone)
    assert torch.equal(alone[0], after[1])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 20))
def test_a_ring_returns_the_last_entries_in_order(window: int, pushes: int) -> None:
    ring = SnapshotRing(window, 2, 1, CPU)
    for i in range(pushes):
        ring.push().fill_(i)
    kept = min(window, pushes)
    assert len(ring) == kept
    assert ring.last(kept)[:, 0, 0].tolist() == list(range(pushes - kept, pushes))
    assert [float(ring.look_back(i)[0, 0]) for i in range(kept)] == list(
        range(pushes - 1, pushes - 1 - kept, -1)
    )
    entries, filled = ring.get_unordered()
    assert sorted(entries[filled][:, 0, 0].tolist()) == list(range(pushes - kept, pushes))


def test_a_ring_drops_layers_and_is_restored_from_its_state() -> None:
    ring = SnapshotRing(3, 3, 1, CPU)
    for i in range(5):
        ring.push().copy_(torch.tensor([[i], [10 + i], [20 + i]]))
    ring.keep([0, 2])
    again = SnapshotRing(3, 3, 1, CPU)
    again.load_state_dict(ring.state_dict())
    assert again.last(3)[:, :, 0].tolist() == [[2, 22], [3, 23], [4, 24]]
    assert again.count == 5


def test_the_network_on_1024_weights_has_the_size_and_cost_of_the_paper() -> None:
    assert sum(p.numel() for p in Predictor(1024).parameters()) == 1_037_122
    # One prediction over 30 snapshots, with a query for the newest only, takes 0.042 GFLOPs. The
    # paper's 0.12 GFLOPs do not follow from its layer sizes.
    assert count_prediction_flops(1024, 30, 30) == pytest.approx(0.042e9, rel=0.01)


def test_a_masked_history_scores_like_a_truncated_history() -> None:
    torch.manual_seed(0)
    network = Predictor(7).eval()
    tokens = torch.randn(4, 9, 7)
    filled = torch.arange(9).expand(4, 9) >= 5
    masked = network(tokens.where(filled[:, :, None], torch.full((), 1e3)), filled)
    short = network(tokens[:, 5:], torch.ones(4, 4, dtype=torch.bool))
    torch.testing.assert_close(masked, short)
    assert not torch.allclose(network(tokens, torch.ones(4, 9, dtype=torch.bool)), short)


def test_scores_do_not_depend_on_the_batch_or_on_the_order_of_tokens() -> None:
    torch.manual_seed(0)
    network = Predictor(7).eval()
    tokens, filled = torch.randn(5, 6, 7), torch.rand(5, 6) > 0.3
    filled[:, -1] = True
    together = network(tokens, filled)
    alone = torch.cat([network(tokens[i : i + 1], filled[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(together, alone)
    keys, values = network.encode(tokens)
    mixed = torch.randperm(6)
    shuffled = network.attend(
        tokens[:, -1:], keys[:, mixed], values[:, mixed], filled[:, mixed][:, None]
    )
    torch.testing.assert_close(shuffled[:, 0], together)


def fill_ring(entries: list[torch.Tensor], window: int = 30) -> SnapshotRing:
    ring = SnapshotRing(window, *entries[0].shape, CPU)
    for entry in entries:
        ring.push().copy_(entry)
    return ring


@pytest.mark.parametrize("name", [n for n in FEATURES if n != "raw"])
def test_features_do_not_depend_on_scale_or_order_of_weights(name: str) -> None:
    entries = list(torch.randn(20, 3, 64, generator=make_generator()).cumsum(0).unbind())
    token = FEATURES[name].token(fill_ring(entries), SchedulePosition(0.3, 0.7))
    assert token.shape == (3, FEATURES[name].width(64))
    order = torch.randperm(64, generator=make_generator(1))
    changed = [7.0 * entry[:, order] for entry in entries]
    same = FEATURES[name].token(fill_ring(changed), SchedulePosition(0.3, 0.7))
    torch.testing.assert_close(same, token, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", list(FEATURES))
def test_tokens_are_finite_for_one_snapshot_and_for_constant_weights(name: str) -> None:
    still = torch.ones(3, 64)
    for entries in ([still], [still] * 5):
        assert FEATURES[name].token(fill_ring(entries), SchedulePosition(0.0, 1.0)).isfinite().all()


def test_travel_and_upstream_equal_manual_calculation() -> None:
    # Each of the 4 weights moves by 1 in layer 0 and by 0.1 in layer 1. Both have a standard
    # deviation of 1.
    start = torch.tensor([[1.0, -1.0, 1.0, -1.0]]).repeat(2, 1)
    step = torch.tensor([[1.0], [0.1]])
    entries = [start + i * step for i in range(3)]
    travelled = FEATURES["travel"].token(fill_ring(entries), SchedulePosition(0, 1))
    # Horizons 1 and 2, then 4, 8 and 16, which are limited to the 2 earlier snapshots.
    expected = torch.tensor(
        [[0.0, 0.301, 0.301, 0.301, 0.301], [-1, -0.699, -0.699, -0.699, -0.699]]
    )
    torch.testing.assert_close(travelled[:, :5], expected, atol=1e-3, rtol=0)
    assert travelled[:, 5].tolist() == pytest.approx([1, 1])  # the last two steps are equal
    up = FEATURES["upstream"].token(fill_ring(entries), SchedulePosition(0, 1))
    assert (10 ** up[:, 0]).tolist() == pytest.approx([1, 1.1], rel=1e-3)
    assert (10 ** up[:, 1]).tolist() == pytest.approx([2, 2.2], rel=1e-3)


def make_trained(features: str = "travel", tailored: int = 16) -> Trained:
    torch.manual_seed(1)
    facts = {
        **dict.fromkeys(REQUIRED, 1),  # no other value is read here
        "features": features,
        "tailored": tailored,
    }
    return Trained(Predictor(FEATURES[features].width(tailored)), facts)


def test_a_loaded_predictor_equals_the_saved_one(tmp_path: Path) -> None:
    saved = make_trained()
    save_predictor(tmp_path / "p.safetensors", saved)
    again = load_predictor(tmp_path / "p.safetensors", CPU)
    assert dict(again.provenance) == dict(saved.provenance)
    for key, value in saved.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[key], value)


def test_an_error_while_writing_gives_one_line_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.safetensors"
    save_predictor(path, make_trained())
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(UserError, match="cannot be written: Input/output error; give --out FILE"):
        save_predictor(path, make_trained("raw"))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_bad_predictor_files_give_a_one_line_error(tmp_path: Path) -> None:
    damaged, other, misfit = (tmp_path / f"{n}.safetensors" for n in ("damaged", "other", "misfit"))
    damaged.write_bytes(b"damaged")
    foreign = []
    for i, text in enumerate(("made by me", "[1]", "1", "null", '{"format": 1}')):
        foreign.append(tmp_path / f"foreign{i}.safetensors")
        save_file({"weight": torch.zeros(2)}, foreign[-1], metadata={"provenance": text})
        with pytest.raises(UserError, match="is not a predictor file"):
            load_predictor(foreign[-1], CPU)
    save_file({"weight": torch.zeros(2)}, other)
    facts = dict(make_trained().provenance)
    save_predictor(misfit, Trained(make_trained().network, {**facts, "features": "raw"}))
    lacking = tmp_path / "lacking.safetensors"
    del facts["features"], facts["rule"]
    save_predictor(lacking, Trained(make_trained().network, facts))
    with pytest.raises(UserError, match="the provenance lacks features, rule"):
        load_predictor(lacking, CPU)
    for path in (damaged, other, misfit, lacking, *foreign, tmp_path / "missing.safetensors"):
        with pytest.raises(UserError, match=path.name) as error:
            load_predictor(path, CPU)
        assert "\n" not in str(error.value)
        assert "freezebench predictor train" in str(error.value)


def test_a_tailor_samples_weights_in_any_memory_format() -> None:
    weight = torch.randn(4, 3, 3, 3, generator=make_generator()).to(
        memory_format=torch.channels_last
    )
    tailor, taken = Tailor([weight], 108, make_generator()), torch.empty(1, 108)
    weight *= 2
    tailor.take([0], taken)
    assert torch.equal(taken[0].sort().values, weight.flatten().sort().values)


@pytest.mark.parametrize(
    "replaced",
    [
        lambda model: nn.utils.vector_to_parameters(
            nn.utils.parameters_to_vector(model.parameters()), model.parameters()
        ),
        lambda model: model.to(memory_format=torch.channels_last),
        lambda model: model.double(),
    ],
    ids=["vector", "channels_last", "double"],
)
def test_a_tailor_follows_weights_whose_storage_is_replaced(replaced: Callable) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))
    tailor = Tailor([layer.weight for layer in model], 20, make_generator())
    before, after = torch.empty(2, 20), torch.empty(2, 20)
    tailor.take([0, 1], before)
    replaced(model)
    for _ in range(2):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(2)
        tailor.take([0, 1], after)
        before *= 2
        assert torch.equal(after, before)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_a_tailor_samples_weights_of_any_floating_type(kind: torch.dtype) -> None:
    weight = torch.randn(20, generator=make_generator()).to(kind)
    tailor, taken = Tailor([weight], 8, make_generator()), torch.empty(1, 8)
    tailor.take([0], taken)
    assert torch.equal(taken[0], weight[tailor.indices[0]].float())
