"""Tests of groups that cannot be fitted or scored: they are left out, and the output names them."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bench.errors import UserError
from strategies.smartfrz.studies.evaluation import evaluate_splits, format_evaluation
from strategies.smartfrz.studies.feature_study import run_study
from strategies.smartfrz.training.corpus import Histories, build_histories
from strategies.smartfrz.training.fit import PredictorTraining
from strategies.smartfrz.training.held_out import find_groups, score_held_out
from strategies.smartfrz.training.held_out_groups import SPLITS
from strategies.smartfrz.training.labels import Rule
from tests.support.recordings import make_recording

torch.set_num_threads(1)

TRAINING = PredictorTraining(window=12, epochs=1, batch=8)
RULE = Rule(k=3, epsilon=0.02)


def make_corpus(*places: str) -> Histories:
    """Return the histories of one run per place. The place "ax" is family a and task x."""
    runs = [make_recording(place, *place, seed=i) for i, place in enumerate(places)]
    return build_histories(runs, "travel", 12, RULE, unlabelled_share=0.1)


def test_a_group_without_a_run_to_train_on_is_left_out_and_named() -> None:
    corpus = make_corpus("ax", "ay", "bx")
    evaluation = evaluate_splits(corpus, TRAINING)
    assert evaluation.left_out == [
        "left out the group a, x of the split both: no run is left to train on"
    ]
    assert format_evaluation(evaluation).startswith(evaluation.left_out[0])
    scored = {row["run"] for row in evaluation.runs if row["split"] == "both"}
    assert scored <= {"ay", "bx"}
    held = corpus.known & torch.isin(corpus.run, torch.tensor([1, 2]))[:, None]
    counted = [b["n"] for b in evaluation.bins if (b["split"], b["judge"]) == ("both", "predictor")]
    assert sum(counted) == int(held.sum())
    assert {row["split"] for row in evaluation.splits} == set(SPLITS)
    assert all(math.isfinite(row["mean_fold"]) for row in evaluation.splits)


def test_a_group_whose_training_part_has_one_label_is_left_out() -> None:
    corpus = make_corpus("ax", "ay", "bx", "by")
    label = corpus.label | (corpus.run >= 2)[:, None]  # all layers of family b have converged
    groups, left_out = find_groups(replace(corpus, label=label), ["family", "task"])
    assert {group.name for group in groups} == {"b", "x", "y"}
    assert "group a of the split family: in its training part, " in left_out[0]
    scores = score_held_out(replace(corpus, label=label), TRAINING, ["both"])["both"]
    assert math.isfinite(scores.find_worst_group(["task"]))
    known = corpus.known & (corpus.run < 2)[:, None]
    groups, left_out = find_groups(replace(corpus, known=known), ["family"])
    assert not groups
    assert "0 of 0 labels" in left_out[0]
    assert left_out[1].endswith("group b of the split family: its held-out part has no labels")


def test_runs_of_one_family_and_task_give_one_line() -> None:
    with pytest.raises(UserError, match="no recorded run can be held out"):
        score_held_out(make_corpus("ax", "ax"), TRAINING, ["both"])


def test_a_study_names_rules_without_both_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [make_recording(place, *place, seed=i) for i, place in enumerate(("ax", "by"))]
    rules = {"long": Rule(k=30), "short": RULE}
    kept = tmp_path / "study.csv"
    rows = run_study(runs, TRAINING, 0.1, kept, ["travel"], rules)
    assert {row["labels"] for row in rows} == {"short"}
    left_out = "left out the labels 'long': 0 of 0 labels are 'converged'"
    assert capsys.readouterr().out.startswith(left_out)
    with pytest.raises(UserError, match="no rule gives labels of both kinds"):
        run_study(runs, TRAINING, 0.1, tmp_path / "n.csv", ["travel"], {"long": Rule(k=30)})
