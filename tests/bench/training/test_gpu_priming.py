"""Tests of GPU priming, which takes complete training steps and does not change the run."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.training import loop
from bench.training.gpu_priming import STEPS, prime_gpu
from bench.training.optimizer import build_optimizer
from tests.support.small_models import FAMILIES
from tests.support.small_training import Training
from tests.support.tiny_runs import execute_run, load_essence, load_weights, make_tiny_spec


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_priming_changes_neither_the_model_nor_the_random_streams(family: Any) -> None:
    training, made_for, steps = Training(family), [], []

    def optimizer_of(model: torch.nn.Module) -> torch.optim.Optimizer:
        made_for.append(model)
        optimizer = build_optimizer(
            "sgd", model, training.layers, lr=0.1, momentum=0.9, weight_decay=0.1, by_layer=False
        )
        optimizer.register_step_post_hook(lambda *_: steps.append(1))
        return optimizer

    training.freezer.freeze([0])
    before = {name: t.clone() for name, t in training.model.state_dict().items()}
    stream = torch.random.get_rng_state()
    prime_gpu(training.model, optimizer_of, family.inputs(3), nullcontext)
    assert len(steps) == STEPS
    assert torch.equal(torch.random.get_rng_state(), stream)
    for name, tensor in training.model.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(p.grad is None for p in training.model.parameters())
    (copied,) = made_for
    moved = [n for n, p in copied.named_parameters() if not torch.equal(p, before[n])]
    assert set(training.layers[0].parameters) & set(moved)  # a frozen layer trains in the copy


def test_a_run_with_priming_ends_bit_identical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_tiny_spec("smartfrz", keep_model=True)
    execute_run(spec, tmp_path / "cold")
    prepare = loop.prepare

    def warm(run: loop.RunState, folder: Any) -> None:
        prime_gpu(run.model, run.build_optimizer, run.batches.probe(8), run.autocast)
        prepare(run, folder)

    monkeypatch.setattr(loop, "prepare", warm)
    execute_run(spec, tmp_path / "warm")
    assert load_essence(spec, tmp_path / "warm") == load_essence(spec, tmp_path / "cold")
    cold = load_weights(spec, tmp_path / "cold")
    assert all(torch.equal(t, cold[n]) for n, t in load_weights(spec, tmp_path / "warm").items())
