"""Mirror in Weights & Biases: real offline files, and failures that do not affect the run."""

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.errors import UserError
from bench.results.run_folder import RunFolder
from bench.results.wandb_mirror import SUMMARY, check_offline_file, mirror_run
from tests.support.tiny_runs import execute_run, make_tiny_spec


def test_offline_mode_writes_a_wandb_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    spec = make_tiny_spec()
    execute_run(spec, tmp_path)
    folder = RunFolder(tmp_path, spec.id)
    mirror_run(spec, folder)
    (file,) = folder.path.glob("wandb/offline-run-*/*.wandb")
    content = file.read_bytes()
    for text in (spec.id, spec.cell, "train_loss", *SUMMARY):
        assert text.encode() in content


def test_a_second_upload_replaces_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    spec = make_tiny_spec()
    execute_run(spec, tmp_path)
    folder = RunFolder(tmp_path, spec.id)
    assert mirror_run(spec, folder)
    (first,) = folder.path.glob("wandb/offline-run-*")
    first = first.rename(first.with_name("offline-run-earlier"))
    assert mirror_run(spec, folder)
    assert not first.exists()
    assert len(list(folder.path.glob("wandb/offline-run-*/*.wandb"))) == 1


def test_export_uploads_the_finished_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = make_tiny_spec()
    execute_run(spec, tmp_path)
    upload = ["export", "--format", "wandb", "--results", str(tmp_path)]
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert main(upload) == 2
    assert "WANDB_MODE" in capsys.readouterr().err
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert main(upload) == 0
    assert "uploaded: 1; uploaded before: 0; failed: 0" in capsys.readouterr().out
    assert main(upload) == 0
    assert "uploaded: 0; uploaded before: 1; failed: 0" in capsys.readouterr().out


def test_an_incomplete_offline_file_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "run.wandb"
    file.write_bytes(b"")
    with pytest.raises(UserError, match="incomplete"):
        check_offline_file(file)


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
