"""Scores of a trained predictor on recorded runs that took no part in its training."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from bench.cli.main import main
from bench.errors import UserError
from bench.planning.sweep import load_sweep
from strategies.smartfrz.features import FEATURES
from strategies.smartfrz.predictor import Predictor
from strategies.smartfrz.predictor_file import Trained
from strategies.smartfrz.studies.target_scores import (
    check_sweep,
    format_target_scores,
    score_recordings,
)
from strategies.smartfrz.training.corpus import build_histories
from strategies.smartfrz.training.fit import predict_probabilities
from strategies.smartfrz.training.labels import Rule
from tests.support.recordings import make_recording

RULE = {"kind": "stable", "k": 4, "epsilon": 0.02, "smooth": 1, "estimator": "unbiased", "every": 1}
FACTS = {
    "features": "travel",
    "window": 12,
    "tailored": 32,
    "snapshots_per_epoch": 6,
    "threshold": 0.5,
    "data": ["glyphs:few"],
    "rule": RULE,
    "label_warmup": 0.1,
}
SWEEP = """
title = "Recorded runs"
[grid]
models = ["mobilenet_v2"]
datasets = ["{data}"]
seeds = [0]
[[methods]]
name = "{method}"
{more}
[datasets.few]
data = "glyphs:few"
"""


@pytest.fixture
def trained() -> Trained:
    torch.manual_seed(0)
    return Trained(Predictor(FEATURES["travel"].width(32)).eval(), FACTS)


def load(folder, data="cifar10", method="record", more=""):
    file = folder / "mine.toml"
    file.write_text(SWEEP.format(data=data, method=method, more=more))
    return load_sweep(str(file), "laptop")


def test_scores_equal_manual_calculation(trained: Trained) -> None:
    recordings = [make_recording(f"run{i}", "vgg", "digits", seed=i) for i in range(2)]
    rows = score_recordings(trained, recordings, ["vgg11", "vgg11"], [0, 1])
    for i, row in enumerate(rows):
        alone = build_histories([recordings[i]], "travel", 12, Rule(**RULE), unlabelled_share=0.1)
        p = predict_probabilities(trained.network, alone, 12)
        label = alone.label[alone.known]
        assert (row["run"], row["seed"], row["labels"]) == (f"run{i}", i, len(label))
        assert row["converged"] == pytest.approx(float(label.double().mean()))
        for name, value in (
            ("predictor", p),
            ("progress", alone.progress),
            ("displacement", -alone.moved),
        ):
            assert row[name] == pytest.approx(roc_auc_score(label, value[alone.known]), abs=1e-6)
        firsts = []
        for layer in range(len(p)):
            over = [s for s in range(p.shape[1]) if alone.known[layer, s] and p[layer, s] >= 0.5]
            firsts += [bool(alone.label[layer, over[0]])] if over else []
        assert (row["freezes"], row["early"]) == (len(firsts), firsts.count(False))
    text = format_target_scores(rows)
    mean = sum(row["predictor"] for row in rows) / 2
    assert f"{mean:.3f} ± " in text
    assert len(text.splitlines()) == 2


def test_a_run_with_equal_labels_has_no_auroc_and_is_counted(trained: Trained) -> None:
    still = make_recording("still", "vgg", "digits", seed=0)
    still.trace["cka"][:] = 0.9
    rows = score_recordings(
        trained, [still, make_recording("run", "vgg", "digits", seed=1)], ["vgg11"] * 2, [0, 1]
    )
    assert math.isnan(rows[0]["predictor"])
    assert rows[0]["converged"] == 1
    line = format_target_scores(rows).splitlines()[1]
    assert f"{rows[1]['predictor']:.3f}" in line
    assert "±" not in line
    assert line.endswith(" 1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "full"}, "uses the strategy full; the predictor is scored on runs of"),
        ({"data": "few"}, "uses glyphs:few, on which the predictor was trained, so its score"),
        ({"more": "options = {snapshots_per_epoch = 4}"}, "= 4; the predictor was trained with"),
        ({"more": "options = {probes_per_epoch = 10}"}, "= 10; the predictor was trained with"),
        ({"more": "options = {tailored = 16}"}, "records 16 weights per layer, and .* reads 32"),
        ({"more": "set = {epochs = 1}"}, "has 3 CKA values in 1 epochs, and a label needs 4"),
    ],
)
def test_runs_on_which_a_score_says_nothing_are_refused(
    tmp_path: Path, trained: Trained, changes: dict[str, str], message: str
) -> None:
    check_sweep(load(tmp_path), trained)
    with pytest.raises(UserError, match=message) as error:
        check_sweep(load(tmp_path, **changes), trained)
    assert "\n" not in str(error.value)


def test_the_command_records_runs_and_writes_their_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(tmp_path)
    results = tmp_path / "results"
    sizes = ["--epochs", "6", "--train-limit", "320"]
    (tmp_path / "same.toml").write_text((tmp_path / "mine.toml").read_text())
    files = [str(tmp_path / name) for name in ("mine.toml", "same.toml")]
    command = ["predictor", "score", *files, "--results", str(results), *sizes]
    assert main(command) == 0
    (scores,) = (results / "reports" / "laptop" / "predictor").glob("score-*-laptop-w30-n1024.csv")
    (row,) = pd.read_csv(scores).to_dict("records")  # a run of both sweeps counts once
    assert (row["model"], row["task"], row["seed"]) == ("mobilenet_v2", "cifar10", 0)
    assert row["labels"] > 0
    assert "AUROC of predictor" in capsys.readouterr().out
    trace = results / "runs" / row["run"] / "trace.safetensors"
    trace.write_bytes(trace.read_bytes()[:-9])
    assert main(command) == 2
    assert f"{trace} is damaged; delete its folder to run it again" in capsys.readouterr().err
    trace.unlink()
    assert main(command) == 2
    assert f"{trace} does not exist; delete its folder" in capsys.readouterr().err
    assert main([*command, "--predictor", str(tmp_path)]) == 2
    assert f"predictor {tmp_path} cannot be read: it is a folder" in capsys.readouterr().err


def test_a_failed_run_ends_the_command_with_its_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    load(tmp_path)
    weights = tmp_path / "weights.safetensors"
    weights.write_text("no weights")
    command = ["predictor", "score", str(tmp_path / "mine.toml"), "--results", str(tmp_path / "r")]
    assert main([*command, "--weights", f"mobilenet_v2={weights}"]) == 2
    error = capsys.readouterr().err
    assert "weights.safetensors" in error
    assert "1 run failed, see above; correct the cause" in error
