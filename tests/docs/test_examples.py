"""The examples do what their texts say."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.data import images
from bench.data.catalogue import list_data_sets, load
from bench.files import read_json
from tests.support.paths import ROOT

TINY = ["--model", "laptop_vgg11", "--resolution", "24", "--lr", "0.02"]


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Change to the folder of the repository, where the texts tell users to call the commands."""
    monkeypatch.chdir(ROOT)


def test_the_strategy_freezes_the_first_half_after_one_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strategy = "examples/early_half.py:EarlyHalf"
    command = ["run", *TINY, "--data", "digits10", "--epochs", "2", "--strategy", strategy]
    assert main([*command, "--train-limit", "64", "--results", str(tmp_path)]) == 0
    result = read_json(Path(capsys.readouterr().out.splitlines()[-1]) / "result.json")
    frozen = {layer["index"]: layer["frozen_at_step"] for layer in result["layers"]}
    half = len(frozen) // 2
    assert {index for index, step in frozen.items() if step is not None} == set(range(half))
    assert set(list(frozen.values())[:half]) == {result["steps"] // 2}


def test_the_sweep_has_a_report_with_the_strategy_and_its_control(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--seeds", "2", "--epochs", "2", "--train-limit", "64"]
    assert main(["sweep", "examples/early_half.toml", *short, "--results", str(tmp_path)]) == 0
    written = (tmp_path / "reports" / "laptop" / "early_half.md").read_text()
    assert "Fine-tuning, with EarlyHalf, at equal cost" in written
    assert "Paper" not in written.split("## ")[1].split("- Profile")[0]  # no column of the paper
    capsys.readouterr()
    done = subprocess.run(
        [sys.executable, "examples/read_results.py", str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for word in ("accuracy", "tflops", "EarlyHalf", "shortened", "full"):
        assert word in done.stdout


def test_the_data_set_is_found_and_can_be_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(images, "__path__", [*images.__path__, str(ROOT / "examples")])
    list_data_sets.cache_clear()
    try:
        assert len(load("stripes", resolution=24).eval_labels) == 200
        command = ["run", *TINY, "--data", "stripes", "--epochs", "3"]
        assert main([*command, "--results", str(tmp_path)]) == 0
        result = read_json(Path(capsys.readouterr().out.splitlines()[-1]) / "result.json")
        assert result["accuracy"] > 60  # 50 % by chance
    finally:
        list_data_sets.cache_clear()
