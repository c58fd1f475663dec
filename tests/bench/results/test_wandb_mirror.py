"""Mirror in Weights & Biases: real offline files, and failures that do not affect the run."""

from pathlib import Path

import pytest
import wandb

from bench.cli.main import main
from bench.results.run_folder import RunFolder
from bench.results.wandb_file import is_whole
from bench.results.wandb_mirror import SUMMARY, mirror_finished_runs, mirror_run
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


def test_a_run_in_use_is_not_uploaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    spec = make_tiny_spec()
    execute_run(spec, tmp_path)
    with RunFolder(tmp_path, spec.id).hold_lock() as ours:
        assert ours
        assert main(["export", "--format", "wandb", "--results", str(tmp_path)]) == 0
    assert "uploaded: 0; uploaded before: 0; failed: 0; in use by another process: 1" in (
        capsys.readouterr().out
    )


def test_a_new_result_is_uploaded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    spec = make_tiny_spec()
    execute_run(spec, tmp_path)
    assert mirror_finished_runs(tmp_path).sent == 1
    folder = RunFolder(tmp_path, spec.id)
    folder.write("result.json", {**folder.result(), "accuracy": 0.0})
    assert mirror_finished_runs(tmp_path).sent == 1
    assert mirror_finished_runs(tmp_path).before == 1


def test_an_offline_file_does_not_count_as_an_online_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_tiny_spec()
    execute_run(spec, tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert mirror_finished_runs(tmp_path).sent == 1
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))  # no API key, so the client refuses at once
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    assert mirror_finished_runs(tmp_path).failed == 1


def test_a_damaged_run_does_not_stop_the_upload_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for seed in range(3):
        execute_run(make_tiny_spec(seed=seed), tmp_path)
    first, second, _ = sorted(tmp_path.glob("runs/*"))
    (first / "spec.json").write_text("{")
    (second / "epochs.jsonl").unlink()
    outcome = mirror_finished_runs(tmp_path)
    assert (outcome.sent, outcome.failed) == (1, 2)
    errors = capsys.readouterr().err
    assert errors.count("was not mirrored") == 2
    assert "try again later" not in errors


def test_a_cut_offline_file_is_incomplete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    spec = make_tiny_spec()
    execute_run(spec, tmp_path)
    assert mirror_finished_runs(tmp_path).sent == 1
    (file,) = tmp_path.glob("runs/*/wandb/offline-run-*/*.wandb")
    assert is_whole(file)
    content = file.read_bytes()
    for length in (0, 5, 100, 2000, 3000, len(content) - 4096, len(content) - 1):
        file.write_bytes(content[:length])
        assert not is_whole(file), length
    file.unlink()
    assert not is_whole(file)


def test_records_that_cross_blocks_are_read(tmp_path: Path) -> None:
    run = wandb.init(mode="offline", dir=str(tmp_path), settings=wandb.Settings(silent=True))
    for step in range(4):
        run.log({"text": "x" * 30_000}, step=step)
    run.finish()
    file = Path(run.dir).parent / f"run-{run.id}.wandb"
    assert file.stat().st_size > 3 * 32_768
    assert is_whole(file)


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
