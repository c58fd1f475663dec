"""Probe gradients equal those of plain autograd on a copy, and change nothing."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from bench.errors import UserError
from bench.training.run_state import RunState
from bench.training.training_step import take_step
from tests.support.started_run import are_equal, read_everything, start_run
from tests.support.tiny_runs import make_tiny_spec
from tests.support.tiny_view import build_tiny_net, build_tiny_view

MODELS = ["laptop_resnet", "laptop_deit"]


def compute_by_hand(run: RunState, samples: int, seed: int) -> list[list[torch.Tensor]]:
    """Return the gradients of a plain backward pass on a copy of the run's model."""
    model = copy.deepcopy(run.model).train().requires_grad_(True)
    for module, original in zip(model.modules(), run.model.modules(), strict=True):
        module.training = original.training  # frozen layers are in eval mode
    inputs, labels = run.batches.labelled_probe(samples)
    with torch.random.fork_rng([run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(seed)
        output = model(*inputs)
    logits = getattr(output, "logits", output)
    F.cross_entropy(logits, labels, label_smoothing=run.spec.label_smoothing).backward()
    return [[model.get_parameter(n).grad for n in layer.parameters] for layer in run.layers]


@pytest.mark.parametrize("changes", [{"model": m} for m in MODELS] + [{"label_smoothing": 0.1}])
def test_probe_gradients_equal_those_of_plain_autograd(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    run = start_run(tmp_path, **changes)
    run.freezer.freeze([0, 2])
    run.view.frozen = run.freezer.frozen
    found, expected = run.view.probe_gradients(24), compute_by_hand(run, 24, seed=0)
    assert len(found) == len(run.layers)
    for layer, (mine, plain) in enumerate(zip(found, expected, strict=True)):
        assert are_equal(mine, plain), layer
        assert [g.shape for g in mine] == [w.shape for w in run.view.weights(layer)]
        assert not any(g.requires_grad for g in mine)
    assert all(found[i][0].abs().max() > 0 for i in (0, 2))  # frozen layers have gradients


def test_probe_gradients_are_repeatable_with_dropout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.models.laptop.DROPOUT", 0.3)
    run = start_run(tmp_path)
    (one, *_), (other, *_) = run.view.probe_gradients(16), run.view.probe_gradients(16)
    assert are_equal(one, other)
    plain = compute_by_hand(run, 16, seed=0)[0]
    assert not are_equal(one, plain)  # other dropout masks, so dropout is on


@pytest.mark.parametrize("model", MODELS)
def test_probe_gradients_change_nothing(model: str, tmp_path: Path) -> None:
    run = start_run(tmp_path, model=model)
    run.freezer.freeze([0, 2])
    before = read_everything(run)
    with run.watch_strategy("decide"), torch.no_grad():
        run.view.probe_gradients(16)
    assert are_equal(read_everything(run), before)
    frozen = [run.model.get_parameter(name) for name in run.layers[0].parameters]
    assert all(p.grad is None and not p.requires_grad for p in frozen)


def test_fixed_parameters_have_gradients_of_zeros(tmp_path: Path) -> None:
    run = start_run(tmp_path, steps=0)
    name = run.layers[1].parameters[0]
    run.model.get_parameter(name).requires_grad_(False)
    run.view.__post_init__()
    found = run.view.probe_gradients(8)
    assert not found[1][0].any()
    assert found[1][0].shape == run.model.get_parameter(name).shape
    assert found[0][0].any()


@pytest.mark.parametrize(
    ("model", "data"), [("laptop_bert", "grammar:acceptability"), ("laptop_bert_mlm", "grammar")]
)
def test_texts_have_a_labelled_probe(model: str, data: str, tmp_path: Path) -> None:
    run = start_run(tmp_path, steps=1, model=model, data=data, optimizer="adamw")
    (inputs, labels), again = run.batches.labelled_probe(8), run.batches.labelled_probe(8)
    assert torch.equal(inputs[0], again[0][0])
    assert torch.equal(labels, again[1])
    if data != "grammar":
        rows = run.batches._draw_probe(8)
        assert torch.equal(labels.cpu(), run.batches._train.labels.cpu()[rows])
        assert torch.equal(inputs[0], run.view.probe(8)[0])
    gradients = run.view.probe_gradients(8)
    assert all(g.isfinite().all() for layer in gradients for g in layer)
    assert gradients[0][0].any()


@pytest.mark.parametrize("memory", [0, 10**9], ids=["streamed", "held"])
def test_images_have_a_labelled_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    """Draw the label as the colour of each image, so that a wrong pairing is detected."""
    for split in ("train", "val"):
        for label, name in enumerate(("dark", "light")):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(8):
                image = Image.new("RGB", (32, 32), (100 * label + i,) * 3)
                image.save(tmp_path / split / name / f"{i}.png")
    monkeypatch.setattr("bench.data.images.image_folder.MEMORY", memory)
    changes = {"data": f"folder:{tmp_path}", "train_limit": 0, "batch_size": 8}
    batches = RunState(make_tiny_spec(**changes), tmp_path / "results").batches
    (images,), labels = batches.labelled_probe(10)
    assert torch.equal(images, batches.probe(10)[0])
    assert labels.tolist() == (images.mean((1, 2, 3)) > 0).long().tolist()
    assert 0 < labels.sum() < 10


def test_the_loss_of_a_view_is_that_of_the_last_step(tmp_path: Path) -> None:
    run = start_run(tmp_path, steps=0)
    assert run.view.loss.isnan()
    losses = []
    for step in range(3):
        model = copy.deepcopy(run.model)
        inputs, labels = run.batches.batch(step)
        expected = F.cross_entropy(model(*inputs), labels).detach()
        take_step(run)
        assert run.view.loss.shape == ()
        assert not run.view.loss.requires_grad
        assert run.view.loss.device == run.model.get_parameter(run.layers[0].parameters[0]).device
        torch.testing.assert_close(run.view.loss, expected)
        losses.append(run.view.loss)
    torch.testing.assert_close(run.loss_sum, sum(losses))


@pytest.mark.parametrize("method", ["probe", "probe_gradients"])
@pytest.mark.parametrize("samples", [0, -1])
def test_a_probe_has_at_least_one_sample(method: str, samples: int) -> None:
    view = build_tiny_view(build_tiny_net(), {})
    with pytest.raises(UserError, match=rf"view\.{method}\({samples}\) .*at least 1"):
        getattr(view, method)(samples)
