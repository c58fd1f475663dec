"""Runs whose published weights are missing are planned and named, and the others are executed."""

from pathlib import Path

import pytest

from bench.cli.main import main

SWEEP = """
title = "Two models"
grid = {models = ["vgg11", "mine"], datasets = ["cifar10"], seeds = [0]}
methods = [{name = "full"}, {name = "smartfrz"}, {name = "at_once", match = "smartfrz"}]
set = {epochs = 1, train_limit = 64}
[models.mine]
model = "squeezenet1_1"
weights = "pretrained"
"""


def test_a_sweep_names_a_model_without_weights_once_and_runs_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # refuses every connection
    file, results = tmp_path / "two.toml", tmp_path / "results"
    file.write_text(SWEEP)
    asked = ["--seeds", "1", "--workers", "1", "--results", str(results)]
    assert main(["sweep", str(file), "--no-report", *asked]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mine: ")]
    assert len(lines) == 1
    assert "mine: 3 planned runs cannot start: " in lines[0]
    assert "--weights mine=FILE.safetensors" in lines[0]
    assert len(list(results.glob("runs/*/result.json"))) == 3
    assert not list(results.glob("runs/*/failure.json"))
