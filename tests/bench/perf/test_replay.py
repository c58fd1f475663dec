"""A run's time rebuilt from its freeze states: what it is made of, and how sure it is."""

import json
import random
import statistics
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.perf.median_interval import compute_median_interval
from bench.perf.replay import find_timing_obstacle, retime
from bench.results.run_folder import RunFolder
from tests.support.tiny_runs import execute_run, load_essence, make_tiny_spec


def test_freezing_more_takes_less_and_the_run_is_left_as_it_was(tmp_path: Path) -> None:
    half, most = make_tiny_spec("at_once", options={"saving": 0.3}), make_tiny_spec("probe")
    ratios = []
    for spec in (half, most):
        execute_run(spec, tmp_path)
        before = load_essence(spec, tmp_path)
        environment = (RunFolder(tmp_path, spec.id).path / "environment.json").read_bytes()
        told = retime(spec, tmp_path, seconds=1)
        assert load_essence(spec, tmp_path) == before
        folder = RunFolder(tmp_path, spec.id)
        assert (folder.path / "environment.json").read_bytes() == environment
        assert json.loads((folder.path / "retime.json").read_text()) == told
        ratio = told["time_ratio"]
        assert ratio["low"] <= ratio["median"] <= ratio["high"]
        assert told["rounds"] >= 6
        assert sum(s["steps"] for s in told["states"]) == folder.result()["steps"]
        # As the docstring says: states by their samples, and deciding on top.
        by_hand = sum(s["steps"] * s["step_s"] for s in told["states"]) * (1 + told["decide_share"])
        assert ratio["median"] == pytest.approx(by_hand / (12 * told["full_step_s"]), rel=0.3)
        ratios.append(ratio["median"])
    assert ratios[1] < ratios[0] < 1


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    draw, held = random.Random(0), 0
    true = statistics.NormalDist(0, 1).median
    for _ in range(2000):
        low, high = compute_median_interval([draw.gauss(0, 1) for _ in range(15)])
        held += low <= true <= high
    assert 0.95 <= held / 2000 <= 0.985
    assert compute_median_interval([3, 1, 2, 6, 5, 4]) == (1, 6)
    with pytest.raises(ValueError, match="too few"):
        compute_median_interval([1, 2, 3, 4, 5])


def test_what_cannot_be_timed_again_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no result yet"):
        retime(make_tiny_spec("probe"), tmp_path, seconds=1)
    cached = make_tiny_spec("probe", augment="none", cache_prefix=True)
    execute_run(cached, tmp_path)
    with pytest.raises(UserError, match="cache_prefix"):
        retime(cached, tmp_path, seconds=1)
    for way, value in (("compiled", True), ("replicas", 2)):
        assert way in find_timing_obstacle(make_tiny_spec().with_changes(**{way: value}))
    assert find_timing_obstacle(make_tiny_spec("probe")) == ""
