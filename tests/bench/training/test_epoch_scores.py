"""With score_epochs, a run is scored after every epoch; nothing else about it changes."""

from pathlib import Path

import pytest

from bench.training.loop import Stopped, execute
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
