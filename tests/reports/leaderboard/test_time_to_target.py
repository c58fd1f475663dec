"""The cost to the target agrees with a hand-worked example."""

import json
import math
from pathlib import Path

import pytest

from bench.errors import UserError
from reports.leaderboard.contestants import Point, collect_contestants
from reports.leaderboard.time_to_target import measure_time_to_target
from tests.support.leaderboard_cells import FULL_COST, make_cell


def write_scores(point: Point, results: Path, scores: list[list[float]]) -> None:
    """Write the scores of three epochs of each run, which cost a third of the run each."""
    for run, own in zip(point.cell.finished, scores, strict=True):
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
