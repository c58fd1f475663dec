"""The cost to the target agrees with a hand-worked example."""

import json
import math
from pathlib import Path

import pytest

from bench.errors import UserError
from reports.leaderboard.contestants import Point, collect_contestants
from reports.leaderboard.time_to_target import measure_time_to_target
from reports.runs.run_table import DIVERGED, UNFINISHED
from tests.support.leaderboard_cells import FULL_COST, make_cell

FULL_SCORES = [80.0, 85.0, 90.0]


def write_scores(
    point: Point, results: Path, scores: list[list[float]], full: list[float] = FULL_SCORES
) -> None:
    """Write the scores of three epochs of each run. Each epoch costs a third of the run.

    full: scores of each run of full training.
    """
    runs = [*point.cell.finished, *point.full.finished]
    for run, own in zip(runs, [*scores, *[full] * point.full.n], strict=True):
        folder = results / "runs" / run["id"]
        folder.mkdir(parents=True)
        rows = [
            {
                "score": score,
                "flops_exact": run["exact_total"] * epoch / 3,
                "decide_flops": run["decide_flops"] * epoch / 3,
                "train_s": 3.0 * epoch,
                "decide_s": 0.1 * epoch,
            }
            for epoch, score in enumerate(own, start=1)
        ]
        (folder / "epochs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")


@pytest.fixture
def point() -> Point:
    cells = [
        make_cell(("m", "d", "full"), [90, 90, 90], 1.0),
        make_cell(("m", "d", "mine"), [90, 90, 88], 0.6),
    ]
    return collect_contestants(cells)["mine"].points["m", "d"][0]


def test_the_median_counts_runs_that_never_reach_the_target_as_endless(
    point: Point, tmp_path: Path
) -> None:
    # The target is 89.5: the first run reaches it after one epoch, the second after two.
    write_scores(point, tmp_path, [[89.5, 80, 90], [80, 90, 90], [88, 89, 88]])
    found = measure_time_to_target([point], tmp_path)
    assert (found.runs, found.reached) == (3, 2)
    assert found.flops == pytest.approx(0.6 * 2 / 3)
    assert found.seconds == pytest.approx(6.2 / 10)
    assert point.full.finished[0]["exact_total"] == FULL_COST


def test_no_median_is_given_if_half_of_the_runs_never_reach_the_target(
    point: Point, tmp_path: Path
) -> None:
    write_scores(point, tmp_path, [[89.5, 80, 90], [80, 80, 80], [88, 89, 88]])
    found = measure_time_to_target([point], tmp_path)
    assert (found.runs, found.reached) == (3, 1)
    assert math.isnan(found.flops)
    assert math.isnan(found.seconds)


def test_the_target_is_a_score_of_the_same_samples_as_the_scores_of_epochs(
    point: Point, tmp_path: Path
) -> None:
    # With all samples, full training ends at 90. With the part for the epochs, it ends at 85.
    scores = [[84.5, 80.0, 84.0], [80.0, 84.5, 85.0], [80.0, 84.0, 84.0]]
    write_scores(point, tmp_path, scores, full=[80.0, 84.0, 85.0])
    found = measure_time_to_target([point], tmp_path)
    assert (found.runs, found.reached) == (3, 2)
    whole = measure_time_to_target([Point(point.full, point.full)], tmp_path)
    assert (whole.runs, whole.reached) == (3, 3)
    assert whole.flops == pytest.approx(1.0)


def test_a_diverged_run_counts_as_never_reaching_the_target(point: Point, tmp_path: Path) -> None:
    write_scores(point, tmp_path, [[89.5, 80, 90], [80, 90, 90], [80, 88, 90]])
    point.cell.runs[0]["state"] = DIVERGED  # although its first score is high enough
    found = measure_time_to_target([point], tmp_path)
    assert (found.runs, found.reached) == (3, 2)
    assert found.flops == pytest.approx(0.6)  # the median of 0.4, 0.6 and infinity
    (tmp_path / "runs" / point.cell.runs[0]["id"] / "epochs.jsonl").unlink()
    point.cell.runs[1]["state"] = DIVERGED
    found = measure_time_to_target([point], tmp_path)
    assert (found.runs, found.reached) == (3, 1)
    assert math.isnan(found.flops)
    assert math.isnan(found.seconds)


def test_runs_without_an_end_or_without_a_target_are_left_out(point: Point, tmp_path: Path) -> None:
    write_scores(point, tmp_path, [[89.5, 80, 90], [80, 90, 90], [80, 88, 90]])
    point.cell.runs[0]["state"] = UNFINISHED
    assert measure_time_to_target([point], tmp_path).runs == 2
    file = tmp_path / "runs" / point.full.runs[1]["id"] / "epochs.jsonl"
    file.write_text('{"epoch": 1}\n')
    assert measure_time_to_target([point], tmp_path).runs == 1
    point.full.runs[2]["state"] = DIVERGED
    assert measure_time_to_target([point], tmp_path).runs == 0


def test_runs_without_scores_are_left_out_and_damaged_files_are_named(
    point: Point, tmp_path: Path
) -> None:
    write_scores(point, tmp_path, [[89.5, 80, 90], [80, 90, 90], [88, 89, 88]])
    file = tmp_path / "runs" / point.cell.finished[0]["id"] / "epochs.jsonl"
    file.write_text('{"epoch": 1}\n')
    assert measure_time_to_target([point], tmp_path).runs == 2
    file.write_text("{")
    with pytest.raises(UserError, match=r"epochs\.jsonl.*delete its folder"):
        measure_time_to_target([point], tmp_path)
