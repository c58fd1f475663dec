"""Snapshots keep the outputs of their moment, change nothing and survive a checkpoint."""

import io
from pathlib import Path

import pytest
import torch

from bench.training.training_step import take_step
from tests.support.started_run import are_equal, read_everything, start_run

MODELS = ["laptop_resnet", "laptop_deit"]


@pytest.mark.parametrize("model", MODELS)
def test_a_snapshot_keeps_the_outputs_of_its_moment(model: str, tmp_path: Path) -> None:
    """Compare outputs, which depend on BatchNorm statistics, after layers thaw and train."""
    run = start_run(tmp_path, model=model)
    probe = run.view.probe(16)
    run.freezer.freeze([0, 2])
    snapshot, expected = run.view.snapshot(), run.view.outputs(probe)
    weights = [w.clone() for w in run.view.weights(1)]
    assert snapshot.step == 2
    assert are_equal(snapshot.outputs(probe), expected)
    run.freezer.thaw([0, 2])
    for _ in range(3):
        take_step(run)
    assert not are_equal(run.view.outputs(probe), expected)
    assert are_equal(snapshot.outputs(probe), expected)
    assert are_equal(snapshot.weights(1), weights)


@pytest.mark.parametrize("model", MODELS)
def test_a_snapshot_and_its_outputs_change_nothing(model: str, tmp_path: Path) -> None:
    run = start_run(tmp_path, model=model)
    run.freezer.freeze([0])
    before = read_everything(run)
    modes = [module.training for module in run.model.modules()]
    snapshot = run.view.snapshot()
    snapshot.outputs(run.view.probe(16))
    assert are_equal(read_everything(run), before)
    assert [module.training for module in run.model.modules()] == modes
    own = {t.untyped_storage().data_ptr() for t in [*run.model.parameters(), *run.model.buffers()]}
    held = {t.untyped_storage().data_ptr() for t in snapshot.state_dict()["tensors"].values()}
    assert not own & held


@pytest.mark.parametrize("model", MODELS)
def test_a_snapshot_survives_a_checkpoint_bit_for_bit(model: str, tmp_path: Path) -> None:
    run = start_run(tmp_path, model=model)
    snapshot, probe = run.view.snapshot(), run.view.probe(16)
    expected = snapshot.outputs(probe)
    buffer = io.BytesIO()
    torch.save(snapshot.state_dict(), buffer)
    take_step(run)
    fresh = run.view.snapshot()
    assert not are_equal(fresh.outputs(probe), expected)
    buffer.seek(0)
    fresh.load_state_dict(torch.load(buffer, weights_only=True))
    assert fresh.step == 2
    assert are_equal(fresh.outputs(probe), expected)
    tensors = list(fresh.state_dict()["tensors"].values())
    assert len(tensors) == len([*run.model.parameters(), *run.model.buffers()])
    assert are_equal(tensors, list(snapshot.state_dict()["tensors"].values()))


def test_state_bytes_count_the_snapshots_that_are_kept(tmp_path: Path) -> None:
    run = start_run(tmp_path, steps=1)
    alone = run.accounting.now.state_bytes
    snapshot = run.view.snapshot()
    size = sum(t.numel() * t.element_size() for t in snapshot.state_dict()["tensors"].values())
    assert snapshot.bytes == size > 0
    run.view.snapshot()  # dropped at once, so it does not count
    run.accounting.now.measured = 0
    take_step(run)
    assert run.accounting.now.state_bytes == alone + size
