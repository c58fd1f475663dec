"""A run records the outcome of every evaluation sample, in the order of the samples."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.batches.factory import load_data
from bench.batches.order import IGNORED_LABEL
from bench.data.catalogue import load_texts
from bench.data.interface.splits import select_balanced
from bench.planning.run_inputs import resolve_inputs
from bench.results.evaluation_file import SampleOutcomes, read_evaluation
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from tests.support.device import DEVICE
from tests.support.tiny_runs import execute_run, make_tiny_spec, predict_samples


def read(spec: Spec, results: Path) -> SampleOutcomes:
    return read_evaluation(RunFolder(results, spec.id).path)


def test_the_outcomes_are_those_of_the_samples_in_order(tmp_path: Path) -> None:
    seed = 7
    spec = make_tiny_spec(seed=seed, keep_model=True)
    result = execute_run(spec, tmp_path)
    found = read(spec, tmp_path)
    predicted, labels = predict_samples(spec, tmp_path)
    assert (found.correct == (predicted == labels)).all()
    assert 0 < found.correct.sum() < len(labels) == result["eval_count"]
    assert 100 * found.correct.mean() == pytest.approx(result["accuracy"])
    data = load_data("digits10", 24, "test", "", 192, seed % 5)
    assert (found.number_sources() == data.eval_sources.numpy()).all()
    assert found.fold == seed % 5
    assert found.truth is None


def text_spec(data: str, **changes: object) -> Spec:
    values = {
        "model": "laptop_bert", "data": data, "epochs": 1, "train_limit": 64,
        "optimizer": "adamw", "lr": 1e-3, "device": DEVICE.type, "keep_model": True,
    }  # fmt: skip
    return resolve_inputs(Spec.from_dict({**values, **changes}), "laptop")


def test_a_text_task_of_two_classes_records_the_true_classes(tmp_path: Path) -> None:
    spec = text_spec("grammar:acceptability")
    result = execute_run(spec, tmp_path)
    found = read(spec, tmp_path)
    predicted, labels = predict_samples(spec, tmp_path)
    assert result["metric"] == "matthews"
    assert (found.correct == (predicted == labels)).all()
    assert (found.truth == labels).all()
    assert (found.number_sources()[:, 0] == np.arange(len(labels))).all()


def test_the_source_of_a_masked_word_is_its_text(tmp_path: Path) -> None:
    spec = text_spec("grammar", model="laptop_bert_mlm")
    result = execute_run(spec, tmp_path)
    found = read(spec, tmp_path)
    predicted, labels = predict_samples(spec, tmp_path)
    asked = labels != IGNORED_LABEL
    assert (found.correct == (predicted == labels)[asked]).all()
    texts = len(load_texts("grammar", "test", "", 64).evaluation)
    sources, words = np.unique(found.number_sources(), return_counts=True)
    assert (sources == np.arange(texts)).all()  # every text has at least one masked word
    assert words.sum() == result["eval_count"] > texts


def test_epochs_can_be_scored_on_a_balanced_part_of_the_samples(tmp_path: Path) -> None:
    spec = make_tiny_spec(epochs=1, score_epochs=True, score_samples=60, seed=1)
    result = execute_run(spec, tmp_path)
    correct = torch.from_numpy(read(spec, tmp_path).correct).double()
    data = load_data("digits10", 24, "test", "", 192, 1)
    part = select_balanced(data.eval_labels, 10, 60)
    assert data.eval_labels[part].bincount().tolist() == [6] * 10
    score = json.loads((RunFolder(tmp_path, spec.id).path / "epochs.jsonl").read_text())["score"]
    assert score == pytest.approx(100 * correct[part].mean().item())
    assert result["accuracy"] == pytest.approx(100 * correct.mean().item()) != score
    assert result["eval_count"] == len(correct) > 60
    assert correct[part].mean() != correct[:60].mean()


def test_a_text_run_can_be_scored_on_a_part_of_the_samples(tmp_path: Path) -> None:
    spec = text_spec("grammar:paraphrase", score_epochs=True, score_samples=20)
    execute_run(spec, tmp_path)
    found = read(spec, tmp_path)
    labels = torch.tensor(
        [text.label for text in load_texts("grammar:paraphrase", "test", "", 64).evaluation]
    )
    part = select_balanced(labels, 2, 20).numpy()
    score = json.loads((RunFolder(tmp_path, spec.id).path / "epochs.jsonl").read_text())["score"]
    assert score == pytest.approx(100 * found.correct[part].mean())
