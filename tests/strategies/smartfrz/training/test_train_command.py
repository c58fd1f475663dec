"""Tests of `freezebench predictor train`, also with --as-published, on tiny recorded runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from bench.cli.main import main
from bench.cli.predictor.config import LABELS, SETTINGS, TRAINING
from bench.planning.sweep import load_sweep
from bench.results.run_folder import RunFolder
from reports.publishing.from_sweep import describe_profile
from strategies.smartfrz.predictor_file import SHIPPED_FEATURES, find_predictor, load_predictor
from strategies.smartfrz.training.train_predictor import PredictorConfig
from tests.support.paths import ROOT
from tests.support.recordings import make_recording

SWEEP = """
title = "Tiny recorded runs"

[grid]
models = ["vgg11"]
datasets = ["phonetic", "few"]
seeds = [0]
methods = ["record"]

[[methods]]
name = "record"
options = {tailored = 32}

[datasets.phonetic]
data = "glyphs:phonetic"

[datasets.few]
data = "glyphs:few"
"""


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Return the command that trains a predictor for 32 tailored weights on two recorded runs."""
    sweep, profile = tmp_path / "tiny.toml", tmp_path / "tiny_profile.toml"
    sweep.write_text(SWEEP)
    text = (ROOT / "sweeps" / "profiles" / "laptop.toml").read_text()
    profile.write_text(text.replace('sweep = "predictor"', f'sweep = "{sweep}"'))
    results = tmp_path / "results"
    for i, spec in enumerate(load_sweep(str(sweep), str(profile)).specs):
        folder = RunFolder(results, spec.id)
        folder.create()
        clocks = {"whole": 1.0, "train": 1.0}
        folder.write("result.json", {"status": "done", "accuracy": 90.0, "clocks": clocks})
        trace = dict(make_recording(spec.id, "vgg11", spec.data, seed=i).trace)
        trace["cka_biased"] = trace["cka"].flip(1).contiguous()  # labels of other layers
        save_file({k: v.contiguous() for k, v in trace.items()}, folder.path / "trace.safetensors")
        folder.model.touch()  # a reference without its weights would be trained again
    common = ["--profile", str(profile), "--results", str(results), "--tailored", "32"]
    return ["predictor", "train", *common, "--window", "12"]


def read_snippet() -> str:
    """Return the TOML block of docs/predictor.md that adds the published predictor to a sweep."""
    page = (ROOT / "docs" / "predictor.md").read_text()
    return page.partition("```toml\n")[2].partition("```")[0]


def read_facts(path: Path) -> dict[str, Any]:
    """Return the provenance in a predictor file."""
    with safe_open(path, framework="pt") as file:
        return dict(json.loads(file.metadata()["provenance"]))


def test_the_form_of_the_paper_and_its_options_are_made_and_recorded(
    command: list[str], tmp_path: Path
) -> None:
    out = str(tmp_path / "published.safetensors")
    chosen = ["--k", "3", "--epsilon", "0.02", "--every", "1", "--lr", "0.05", "--epochs", "2"]
    assert main([*command, "--as-published", *chosen, "--out", out]) == 0
    facts = read_facts(Path(out))
    assert (facts["features"], facts["threshold"], facts["decision"]) == ("raw", 0.5, "argmax")
    assert facts["scores"]  # argmax needs no held-out score, but the file names it
    assert facts["label_warmup"] == 0
    rule, recipe = facts["rule"], facts["recipe"]
    assert rule == {**rule, "estimator": "biased", "every": 1, "k": 3, "epsilon": 0.02}
    plain = {"optimizer": "sgd", "schedule": "constant", "clip": 0, "standardise": False}
    assert recipe == {**recipe, **plain, "batch": 32, "lr": 0.05, "epochs": 2}
    network = load_predictor(Path(out), torch.device("cpu")).network
    assert network.inputs == 32
    assert torch.equal(network.shift, torch.zeros(32))

    snippet = read_snippet().replace('"published",', '"published", window = 12, tailored = 32,')
    row = 'title = "Shown"\n[grid]\nmodels = ["vgg11"]\ndatasets = ["cifar10"]\nseeds = [0]\n'
    row += f'[[methods]]\nname = "full"\n{snippet}'
    (tmp_path / "shown.toml").write_text(row)
    files = {"predictor": out}
    sweep = load_sweep(str(tmp_path / "shown.toml"), "laptop", controls=True, files=files)
    assert describe_profile(sweep)["departures"] == (
        "The row smartfrz (as published) departs from its paper: the predictor was trained with "
        "sgd on glyphs:few, glyphs:phonetic instead of with sgd on imagenet (docs/predictor.md)."
    )


def test_options_of_the_training_never_replace_the_shipped_file(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--optimizer", "sgd", "--k", "3"]) == 2
    assert "--optimizer, --k: a predictor trained in another way" in capsys.readouterr().err
    assert main([*command, "--shipped", "--as-published"]) == 2
    assert "--shipped writes the shipped files; remove" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--optimizer", "adam"], "optimizer = 'adam' is not valid; give one of adamw, sgd"),
        (["--estimator", "debiased"], "estimator = 'debiased' is not valid"),
        (["--k", "1"], "k = '1' is not valid; give a whole number from 2"),
        (["--epsilon", "1e-9"], "0 of 64 labels are 'converged'"),
        (["--k", "11", "--unlabelled-share", "1", "--smooth", "2"], "labels are 'converged'"),
    ],
)
def test_bad_options_of_the_training_give_one_line(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    reason: str,
) -> None:
    assert main([*command, *given, "--out", str(tmp_path / "p.safetensors")]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--tailored", "64"], "records 32 weights per layer, fewer than 64"),
        (["--k", "99"], "--k 99 needs more CKA values than a run of the sweep tiny has"),
        (["--window", "2000"], "--window 2000 is not valid; give a whole number from 2 to 1000"),
        (["--without-family", "resnet50"], "give both (families: vgg11)"),
        (["--without-family", "vgg11"], "no training data is left without vgg11"),
        (["--out", "{folder}"], "is a folder; give --out FILE"),
        (["--out", "{folder}/made.toml/p"], "made.toml is a file, but must be a folder"),
        (["--out", "/proc/x/p"], "/proc/x cannot be created"),
        (["--out", "{folder}/" + 300 * "n"], "cannot be written: File name too long"),
    ],
)
def test_bad_arguments_are_refused_before_the_first_run(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
    reason: str,
) -> None:
    def launch(*_: object, **__: object) -> None:
        raise AssertionError("a run was started")

    monkeypatch.setattr("bench.launch.launch.launch_all", launch)
    (tmp_path / "made.toml").touch()
    out = ["--out", str(tmp_path / "p.safetensors")]
    given = [word.replace("{folder}", str(tmp_path)) for word in given]
    assert main([*command, *out, *given]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert main(["predictor", "train", *command[2:], "--without-family", "vgg11"]) == 2
    assert "--without-family vgg11 needs --out" in capsys.readouterr().err


def test_the_file_names_the_decision_that_was_used(command: list[str], tmp_path: Path) -> None:
    sweep = tmp_path / "tiny.toml"
    sweep.write_text(SWEEP.replace('["phonetic", "few"]', '["few"]'))
    out = tmp_path / "p.safetensors"
    assert (
        main([*command, "--epochs", "1", "--k", "3", "--epsilon", "0.02", "--out", str(out)]) == 0
    )
    facts = read_facts(out)
    assert (facts["decision"], facts["threshold"], facts["scores"]) == ("argmax", 0.5, {})


@pytest.mark.parametrize("given", [["--unlabelled-share", "1"], ["--epsilon", "2"]])
def test_an_evaluation_without_both_labels_gives_one_line(
    command: list[str], capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    assert main(["predictor", "evaluate", *command[2:], *given]) == 2
    error = capsys.readouterr().err
    assert "labels are 'converged'" in error
    assert error.count("\n") == 1


def test_the_defaults_of_the_command_are_those_of_the_shipped_predictor() -> None:
    config = PredictorConfig()
    owners = ((TRAINING, config.training), (LABELS, config.rule), (SETTINGS, config))
    for options, owner in owners:
        for name, option in options.items():
            expected = getattr(owner, "kind" if name == "rule" else name)
            if name == "standardise":
                expected = {True: "yes", False: "no"}[expected]
            assert option.default == expected, name


def test_the_published_predictor_has_a_file_of_its_own(tmp_path: Path) -> None:
    assert find_predictor("laptop", "raw", 30, 1024, recipe="published").name == (
        "laptop-published-w30-n1024.safetensors"
    )
    names = {
        find_predictor("laptop", features, 30, 1024, recipe=recipe).name
        for recipe in SHIPPED_FEATURES
        for features in SHIPPED_FEATURES.values()
    }
    assert len(names) == 4


def test_a_row_without_its_predictor_file_gives_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snippet = read_snippet()
    assert 'name = "smartfrz (as published)"' in snippet
    text = (ROOT / "sweeps" / "table3.toml").read_text()
    # No file is shipped for this window, so the test holds with and without the published file.
    odd = snippet.replace('recipe = "published"', 'recipe = "published", window = 31')
    (tmp_path / "mine.toml").write_text(text + odd)
    assert main(["plan", str(tmp_path / "mine.toml"), "--controls", "--seeds", "1"]) == 2
    error = capsys.readouterr().err
    assert "there is no predictor file for these options" in error
    assert "laptop-published-w31-n1024.safetensors" in error
    assert "freezebench predictor train" in error
    assert error.count("\n") == 1
    own = find_predictor("laptop", "upstream+progress", 30, 1024)
    shutil.copy(own, tmp_path / "own.safetensors")
    (tmp_path / "mine.toml").write_text(text + snippet)
    given = ["--predictor", str(tmp_path / "own.safetensors"), "--results", str(tmp_path)]
    assert main(["plan", str(tmp_path / "mine.toml"), "--controls", "--seeds", "1", *given]) == 0
    assert "smartfrz: 4" in capsys.readouterr().out  # 2 runs each of two methods


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ('[[methods]]\nname = "full"\n', "uses the strategy full; a predictor is trained on runs"),
        (
            '[[methods]]\nname = "often"\nstrategy = "record"\n'
            "options = {tailored = 32, snapshots_per_epoch = 12}\n",
            "its runs have snapshots_per_epoch = 6 and 12; give all of them the same value",
        ),
    ],
)
def test_runs_that_cannot_train_a_predictor_are_refused_before_the_launch(
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    methods: str,
    words: str,
) -> None:
    text = SWEEP.replace('methods = ["record"]\n', "")
    (tmp_path / "tiny.toml").write_text(f"{text}\n{methods}")
    assert main([*command, "--out", str(tmp_path / "own.safetensors")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["train", "--all", "--window", "20"], "--all trains predictors of given sizes; remove"),
        (["evaluate", "--used", "--window", "20"], "for SmartFRZ with window = 30, not 20"),
        (["evaluate", "--decision", "argmax"], "--decision acts on the runs of --used only"),
    ],
)
def test_options_without_effect_are_refused(
    capsys: pytest.CaptureFixture[str], given: list[str], words: str
) -> None:
    assert main(["predictor", *given]) == 2
    assert words in capsys.readouterr().err


def test_the_note_on_departures_names_every_threshold() -> None:
    sweep = load_sweep("frontier", "laptop", controls=True, seeds=1)
    words = describe_profile(sweep)["departures"]
    assert "P(freeze) ≥ 0.91 or 0.7, in some rows, instead of by argmax" in words
