"""A language model predicts every next word of its texts, and its score is the loss."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bench.batches.order import IGNORED_LABEL
from bench.models.anatomy import analyze_model
from bench.models.catalogue import build
from bench.planning.run_inputs import resolve_inputs
from bench.results.evaluation_file import read_evaluation
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from bench.training.run_state import RunState
from reports.runs.sample_scores import read_sample_scores
from tests.support.counted_by_torch import count_by_torch
from tests.support.device import DEVICE
from tests.support.tiny_runs import execute_run, load_weights


def make_spec(**changes: object) -> Spec:
    values = {
        "model": "laptop_llama", "data": "grammar:paraphrase", "strategy": "lisa",
        "options": {"n": 1, "K": 2}, "epochs": 1, "train_limit": 96, "optimizer": "adamw",
        "lr": 3e-3, "device": DEVICE.type, "keep_model": True,
    }  # fmt: skip
    return resolve_inputs(Spec.from_dict({**values, **changes}), "laptop")


def test_a_run_whose_last_update_diverges_has_the_status_diverged(tmp_path: Path) -> None:
    huge = {"lr": 1e6, "weight_decay": 1e3, "optimizer": "sgd", "strategy": "full", "options": {}}
    spec = make_spec(epochs=2, train_limit=32, score_epochs=True, **huge)
    result = execute_run(spec, tmp_path)
    assert result["status"] == "diverged"
    assert result["reason"] == "the weights after epoch 2 are not finite"
    assert result["accuracy"] is None
    lines = (RunFolder(tmp_path, spec.id).path / "epochs.jsonl").read_text().splitlines()
    assert ["score" in line for line in lines] == [True, False]


def test_the_labels_are_the_next_words_and_end_with_the_text(tmp_path: Path) -> None:
    run = RunState(make_spec(), tmp_path)
    for (ids, real, _), labels in (run.batches.batch(0), run.batches.labelled_probe(8)):
        lengths = real[:, 0, 0].sum(1)
        assert len(lengths.unique()) > 1  # some texts are padded
        for row, length in enumerate(lengths.tolist()):
            assert labels[row, : length - 1].equal(ids[row, 1:length])
            assert (labels[row, length - 1 :] == IGNORED_LABEL).all()


def test_a_word_does_not_see_later_words(tmp_path: Path) -> None:
    run = RunState(make_spec(), tmp_path)
    (ids, real, segments), _ = run.batches.batch(0)
    other = ids.clone()
    other[:, 6:] = other[:, 6:].flip(0)
    with torch.no_grad():
        one, two = (run.model.eval()(x, real, segments).logits for x in (ids, other))
    assert torch.equal(one[:, :6], two[:, :6])
    assert not torch.equal(one[:, 6:], two[:, 6:])


def test_the_score_is_the_loss_of_every_word_and_can_be_read_again(tmp_path: Path) -> None:
    spec = make_spec()
    result = execute_run(spec, tmp_path)
    run = RunState(spec, tmp_path)
    run.model.load_state_dict(load_weights(spec, tmp_path))
    run.model.eval()
    losses = []
    with torch.no_grad():
        for inputs, labels in run.batches.evaluation():
            logits = run.model(*inputs).logits
            for row, asked in zip(logits, labels, strict=True):
                kept = asked != IGNORED_LABEL
                losses.append(F.cross_entropy(row[kept], asked[kept], reduction="none"))
    flat = torch.cat(losses).cpu().numpy()
    assert result["metric"] == "loss"
    assert result["eval_count"] == len(flat)
    assert result["accuracy"] == pytest.approx(-100 * flat.mean(), rel=1e-5)
    folder = RunFolder(tmp_path, spec.id).path
    found = read_evaluation(folder)
    assert found.losses == pytest.approx(flat, abs=1e-5)
    numbers = np.repeat(np.arange(len(losses)), [len(each) for each in losses])
    assert (found.number_sources()[:, 0] == numbers).all()  # the source of a word is its text
    scores = read_sample_scores(folder, "loss", result["accuracy"])
    assert scores.contributions.mean() == pytest.approx(result["accuracy"], abs=1e-3)


def test_weights_of_a_language_model_include_its_head(tmp_path: Path) -> None:
    first = make_spec(strategy="full", options={}, data="grammar")
    execute_run(first, tmp_path)
    run = RunState(make_spec(weights=f"run:{first.id}"), tmp_path)
    for name, tensor in load_weights(first, tmp_path).items():
        assert torch.equal(run.model.state_dict()[name].cpu(), tensor.cpu()), name


def test_flops_of_the_language_model_equal_the_counter_of_torch() -> None:
    layers, flops = analyze_model("laptop_llama", 0, 24)
    assert len({layer.block for layer in layers}) == 5  # four blocks and the head
    ids = torch.ones((1, 24), dtype=torch.long)
    inputs = (ids, torch.ones((1, 1, 1, 24), dtype=torch.bool), 0 * ids)
    for frozen in (frozenset[int](), frozenset(range(9)), frozenset({4, 12})):
        count = flops.exact(frozen)
        model = build("laptop_llama", 0, 24, 0)
        assert (count.forward, count.backward) == count_by_torch(model, layers, inputs, frozen)
