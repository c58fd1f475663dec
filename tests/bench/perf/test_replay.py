"""The time of a run is reconstructed from its freeze states, with a confidence interval."""

import json
import random
import re
import statistics
from pathlib import Path

import pytest

from bench.cli.main import main
from bench.errors import UserError
from bench.perf.median_interval import compute_median_interval
from bench.perf.replay import find_timing_obstacle, retime
from bench.planning.sweep import load_sweep
from bench.results.run_folder import RunFolder
from tests.support.tiny_runs import execute_run, load_essence, make_tiny_spec


def test_retime_finds_more_freezing_faster_and_does_not_change_the_run(tmp_path: Path) -> None:
    half, most = make_tiny_spec("at_once", options={"saving": 0.3}), make_tiny_spec("probe")
    ratios = []
    for spec in (half, most):
        execute_run(spec, tmp_path)
        before = load_essence(spec, tmp_path)
        environment = (RunFolder(tmp_path, spec.id).path / "environment.json").read_bytes()
        timed = retime(spec, tmp_path, seconds=1)
        assert load_essence(spec, tmp_path) == before
        folder = RunFolder(tmp_path, spec.id)
        assert (folder.path / "environment.json").read_bytes() == environment
        assert json.loads((folder.path / "retime.json").read_text()) == timed
        ratio = timed["time_ratio"]
        assert ratio["low"] <= ratio["median"] <= ratio["high"]
        assert timed["rounds"] >= 6
        assert sum(s["steps"] for s in timed["states"]) == folder.result()["steps"]
        # The time is the sum over the freeze states, plus the share of decide time.
        expected = sum(s["steps"] * s["step_s"] for s in timed["states"])
        expected *= 1 + timed["decide_share"]
        assert ratio["median"] == pytest.approx(expected / (12 * timed["full_step_s"]), rel=0.3)
        ratios.append(ratio["median"])
    assert ratios[1] < ratios[0] < 1


def test_the_interval_contains_the_median_at_its_confidence() -> None:
    draw, held = random.Random(0), 0
    true = statistics.NormalDist(0, 1).median
    for _ in range(2000):
        low, high = compute_median_interval([draw.gauss(0, 1) for _ in range(15)])
        held += low <= true <= high
    assert 0.95 <= held / 2000 <= 0.985
    assert compute_median_interval([3, 1, 2, 6, 5, 4]) == (1, 6)
    with pytest.raises(ValueError, match="too few"):
        compute_median_interval([1, 2, 3, 4, 5])


def test_the_command_says_what_it_did_not_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["retime", "table4", "--seeds", "1", "--results"]
    assert main([*command, str(tmp_path / "none")]) == 2
    assert "there is no such folder" in capsys.readouterr().err
    for entry in load_sweep("table4", "laptop", seeds=1).entries:
        folder = RunFolder(tmp_path, entry.spec.id)
        folder.create()
        folder.write("result.json", {"status": "done", "freeze_states": []})
        folder.write("retime.json", {})
    assert main([*command, str(tmp_path)]) == 0
    assert re.fullmatch(
        r"runs timed before: \d+; --again times them again\n", capsys.readouterr().out
    )


def test_runs_that_cannot_be_timed_again_give_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no result yet"):
        retime(make_tiny_spec("probe"), tmp_path, seconds=1)
    cached = make_tiny_spec("probe", augment="none", cache_prefix=True)
    execute_run(cached, tmp_path)
    with pytest.raises(UserError, match="cache_prefix"):
        retime(cached, tmp_path, seconds=1)
    for way, value in (("compiled", True), ("replicas", 2)):
        assert way in find_timing_obstacle(make_tiny_spec().with_changes(**{way: value}))
    assert find_timing_obstacle(make_tiny_spec("probe")) == ""
