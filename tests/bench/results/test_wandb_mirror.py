"""Mirror in Weights & Biases: real offline files, and failures that do not affect the run."""

from pathlib import Path

import pytest

from bench.results.run_folder import RunFolder
from bench.results.wandb_mirror import mirror_run
from tests.support.tiny_runs import execute_run, make_tiny_spec


def test_offline_mode_writes_a_wandb_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    spec = make_tiny_spec()
    execute_run(spec, tmp_path)
    folder = RunFolder(tmp_path, spec.id)
    mirror_run(spec, folder)
    (file,) = folder.path.glob("wandb/offline-run-*/*.wandb")
    content = file.read_bytes()
    for text in (spec.id, spec.cell, "train_loss", "accuracy"):
        assert text.encode() in content


def test_a_failed_upload_is_reported_and_not_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    mirror_run(make_tiny_spec(), RunFolder(tmp_path, "never-made"))
    assert "was not mirrored" in capsys.readouterr().err


def test_the_mirror_is_off_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    mirror_run(make_tiny_spec(), RunFolder(tmp_path, "never-made"))
    assert not list(tmp_path.rglob("*.wandb"))
