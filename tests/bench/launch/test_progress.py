"""Progress of a launch: the display on a terminal, the lines elsewhere, and the closing line."""

import io
import re
import time
from pathlib import Path

import pytest

from bench.launch import progress as progress_module
from bench.launch.progress import Progress
from bench.planning.estimates import DurationEstimator
from bench.planning.plan import make_plan
from tests.support.tiny_runs import make_tiny_spec


class Terminal(io.StringIO):
    """Text stream that says that it is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def result(train: float, resumed: bool = False) -> dict:
    """Return the part of a result that the progress reads."""
    clocks = {"train": train, "whole": train + 1}
    done = {"status": "done", "accuracy": 50.0, "metric": "accuracy"}
    return {"clocks": clocks, **done, "resumed": resumed}


def start(tmp_path: Path, seeds: int, stream: io.StringIO, workers: int = 2) -> tuple:
    """Return the specs of `seeds` runs, and a Progress that shows these runs."""
    specs = [make_tiny_spec(seed=seed) for seed in range(seeds)]
    plan = make_plan(specs, tmp_path)
    return specs, Progress(plan, DurationEstimator(plan, tmp_path), workers=workers, stream=stream)


def test_the_last_line_gives_the_share_of_time_inside_training_steps(tmp_path: Path) -> None:
    stream = io.StringIO()
    specs, progress = start(tmp_path, 3, stream)
    began = time.monotonic()
    time.sleep(0.2)
    for spec, resumed in zip(specs, (False, False, True), strict=True):
        progress.finished(spec, result(0.1, resumed))  # a resumed run does not count
    progress.sum_up()
    elapsed = time.monotonic() - began
    last = stream.getvalue().splitlines()[-1]
    assert last.startswith("3 runs in ")
    assert last.endswith(" training steps of runs that were not resumed (2)")
    share = int(re.search(r"(\d+) % of the workers' time", last)[1])
    assert 100 * 0.2 / (2 * elapsed) - 3 < share <= 50


@pytest.mark.parametrize(
    ("metric", "shown"),
    [("accuracy", ": 50.00 % in"), ("matthews", ": 50.00 in"), ("loss", ": 50.00 in")],
)
def test_only_an_accuracy_is_shown_as_a_percentage(metric: str, shown: str, tmp_path: Path) -> None:
    stream = io.StringIO()
    specs, progress = start(tmp_path, 2, stream)
    progress.finished(specs[0], {**result(0.1), "metric": metric})
    progress.sum_up()
    assert shown in stream.getvalue()


def test_runs_of_another_launcher_are_shown_but_not_part_of_the_share(tmp_path: Path) -> None:
    stream = io.StringIO()
    specs, progress = start(tmp_path, 5, stream)
    time.sleep(0.2)
    for spec in specs[:3]:
        progress.found(spec, result(1000.0))
    progress.sum_up()
    shown = stream.getvalue()
    assert f"[3/5] {specs[2].label}: 50.00 % in 17 min by another launcher;" in shown
    assert "inside training" not in shown
    for spec in specs[3:]:
        progress.finished(spec, result(0.05))
    progress.sum_up()
    last = stream.getvalue().splitlines()[-1]
    assert last.startswith("2 runs in ")
    assert 0 < int(re.search(r"(\d+) % of the workers' time", last)[1]) <= 25


def test_a_single_run_has_no_closing_line(tmp_path: Path) -> None:
    stream = io.StringIO()
    (spec,), progress = start(tmp_path, 1, stream)
    progress.finished(spec, result(0.1))
    progress.sum_up()
    assert "inside training" not in stream.getvalue()


def test_a_stream_that_is_no_terminal_gets_one_plain_line_per_finished_run(tmp_path: Path) -> None:
    stream = io.StringIO()
    specs, progress = start(tmp_path, 2, stream)
    progress.started(specs[0])
    progress.stepped(specs[0], 1, 2)
    assert stream.getvalue() == ""
    progress.finished(specs[0], result(0.1))
    progress.failed(specs[1], "RuntimeError: " + "long [reason] " * 20)
    progress.close()
    finished, failed = stream.getvalue().splitlines()
    assert re.fullmatch(rf"\[1/2\] {re.escape(specs[0].label)}: 50\.00 % in 1 s; .* left", finished)
    assert failed.endswith("long [reason] ")  # neither wrapped nor read as markup
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_shows_one_bar_for_the_plan_and_a_line_for_each_running_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(progress_module, "REDRAW_SECONDS", 0.0)
    stream = Terminal()
    specs, progress = start(tmp_path, 3, stream)
    progress.started(specs[0])
    progress.started(specs[1])
    progress.finished(specs[0], result(0.1))
    stream.truncate(0)
    progress.stepped(specs[1], 1, 4)
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue()).split("\n")
    bar, *runs = [line for line in drawn if line.strip()]
    assert "1 of 3 runs" in bar
    assert "left" in bar
    assert [line.split("  ")[0].strip("\r\x00 ") for line in runs] == [specs[1].label]
    assert "25%" in runs[0]
    progress.failed(specs[1], "no luck")
    assert f"failed: {specs[1].label}: no luck" in stream.getvalue()
    progress.close()
