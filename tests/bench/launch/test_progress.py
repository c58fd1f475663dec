"""What is said of a launch once it has ended."""

import io
import re
import time
from pathlib import Path

from bench.launch.progress import Progress
from bench.planning.estimates import Estimate
from bench.planning.plan import make_plan
from tests.support.tiny_runs import make_tiny_spec


def result(train: float, resumed: bool = False) -> dict:
    clocks = {"train": train, "whole": train + 1}
    return {"clocks": clocks, "status": "done", "accuracy": 50.0, "resumed": resumed}


def test_the_share_of_time_inside_training_steps(tmp_path: Path) -> None:
    specs = [make_tiny_spec(seed=seed) for seed in range(3)]
    plan, stream = make_plan(specs, tmp_path), io.StringIO()
    progress = Progress(plan, Estimate(plan, tmp_path), workers=2, stream=stream)
    began = time.monotonic()
    time.sleep(0.2)
    for spec, resumed in zip(specs, (False, False, True), strict=True):
        progress.finished(spec, result(0.1, resumed))  # a resumed run's clocks began elsewhere
    progress.sum_up()
    elapsed = time.monotonic() - began
    said = stream.getvalue().splitlines()[-1]
    assert said.startswith("2 runs in ")
    share = int(re.search(r"(\d+)% of that", said)[1])
    assert 100 * 0.2 / (2 * elapsed) - 3 < share <= 50


def test_a_single_run_is_not_summed_up(tmp_path: Path) -> None:
    plan, stream = make_plan([make_tiny_spec()], tmp_path), io.StringIO()
    progress = Progress(plan, Estimate(plan, tmp_path), workers=1, stream=stream)
    progress.finished(make_tiny_spec(), result(0.1))
    progress.sum_up()
    assert "inside training" not in stream.getvalue()
