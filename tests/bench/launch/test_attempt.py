"""One attempt at a run: how often it writes a checkpoint."""

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.launch.attempt import CHECKPOINT_VARIABLE, run_and_report
from bench.launch.launch import launch
from bench.results.run_folder import RunFolder
from reports.runs.export import read_results
from tests.support.tiny_runs import make_tiny_spec


def test_a_variable_sets_the_seconds_between_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_tiny_spec(epochs=1)
    folder = RunFolder(tmp_path, spec.id)
    for text in ("soon", "-1", "nan"):
        monkeypatch.setenv(CHECKPOINT_VARIABLE, text)
        kind, reason = run_and_report(spec, tmp_path, lambda: False, lambda step, steps: None)
        assert kind == "failed"
        assert reason.startswith(f"{CHECKPOINT_VARIABLE} = {text!r} is not valid; give the seconds")
        (row,) = read_results(tmp_path).runs.to_dict("records")
        assert (row["run"], row["state"]) == (spec.id, "failed")
    for text, expected in (("0", [False] + [True] * 5), ("", [False] * 6)):
        seen: list[bool] = []
        monkeypatch.setenv(CHECKPOINT_VARIABLE, text)
        kind, _ = run_and_report(
            spec,
            tmp_path,
            lambda: False,
            lambda step, steps, seen=seen: seen.append(folder.checkpoint.exists()),
        )
        assert kind == "result"
        assert seen == expected
        (folder.path / "result.json").unlink()


def test_an_invalid_checkpoint_interval_is_an_error_before_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHECKPOINT_VARIABLE, "1m")
    with pytest.raises(UserError, match=r"= '1m' is not valid; give the seconds"):
        launch([], tmp_path)
