"""With score_epochs, a run is scored after every epoch; nothing else about it changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.costs.accounting import Accounting
from bench.errors import Stopped
from bench.training import loop
from bench.training.loop import execute
from tests.support.tiny_runs import execute_run, load_essence, make_tiny_spec

OWN = ("score", "decide_flops")


def test_scores_after_every_epoch_leave_a_run_unchanged_also_if_it_resumes(tmp_path: Path) -> None:
    # An epoch has 6 steps. No measurement follows its end that could restore the modes of modules.
    options = {"interval": 4, "samples": 16, "tolerance": 0.1}
    plain = make_tiny_spec("simfreeze", options=options, keep_model=True)
    scored = plain.with_changes(score_epochs=True)
    asked = iter(range(100))
    with pytest.raises(Stopped):
        execute(scored, tmp_path, stop=lambda: next(asked) == 7)
    result = execute_run(scored, tmp_path)
    execute_run(plain, tmp_path)
    one, other = load_essence(plain, tmp_path), load_essence(scored, tmp_path)
    for key in ("model", "decisions", "evaluation"):
        assert one[key] == other[key], key
    assert one["result"]["memory"] == other["result"]["memory"]
    epochs = other["epochs"]
    assert [{k: v for k, v in line.items() if k not in OWN} for line in epochs] == one["epochs"]
    assert len(epochs) == 2
    assert epochs[0]["score"] != epochs[1]["score"] == result["accuracy"]
    assert 0 < epochs[0]["decide_flops"] < epochs[1]["decide_flops"]


def test_the_memory_peak_of_a_freeze_state_excludes_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulate a CUDA allocator in which training reaches 100 bytes, and evaluation 5000."""
    peak = [0]

    def reach(size: int, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            peak[0] = max(peak[0], size)
            return function(*arguments, **named)

        return call

    def read_peaks(accounting: Accounting) -> None:
        accounting.now.cuda_allocated = max(peak[0], accounting.now.cuda_allocated or 0)

    monkeypatch.setattr(loop, "take_step", reach(100, loop.take_step))
    monkeypatch.setattr(loop, "score_part", reach(5000, loop.score_part))
    monkeypatch.setattr(Accounting, "_read_peaks", read_peaks)
    monkeypatch.setattr(Accounting, "forget_peaks", lambda _: peak.__setitem__(0, 0))
    spec = make_tiny_spec("linear", options={"t0": 0.5}, score_epochs=True)
    result = execute_run(spec, tmp_path)
    peaks = [state["cuda_allocated"] for state in result["freeze_states"]]
    assert len(peaks) > 2
    assert max(filter(None, peaks)) == 100
