"""The leaderboard of real runs: two methods and a control on one pair, from sweep to page."""

import csv
from pathlib import Path

import pytest

from bench.planning.sweep import Sweep, load_sweep
from bench.results.run_folder import RunFolder
from reports.document.captions import SLOWED_MARK
from reports.document.profile import Profile
from reports.leaderboard.contestants import collect_contestants
from reports.leaderboard.time_to_target import (
    make_full_points,
    measure_time_to_target,
    read_scores,
)
from reports.publishing.from_sweep import (
    describe_profile,
    list_shown_runs,
    write_page,
    write_reports,
)
from reports.runs.cells import build_cells
from reports.runs.run_table import Reader
from reports.tables import leaderboard
from tests.support.tiny_runs import execute_run

TINY = """
title = "A tiny leaderboard"
table = "leaderboard"
set = {score_epochs = true}
[grid]
models = ["vgg11"]
datasets = ["cifar10"]
seeds = [0]
[[methods]]
name = "full"
[[methods]]
name = "badam"
[[methods]]
name = "smartfrz"
options = {warmup = 0}
[[methods]]
name = "prefix, 60 %"
strategy = "prefix"
options = {saving = 0.6}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sweep, Path]:
    folder = tmp_path_factory.mktemp("leaderboard")
    file = folder / "tiny.toml"
    file.write_text(TINY)
    sweep = load_sweep(str(file), "laptop", changes={"epochs": 2, "train_limit": 64})
    for spec in sweep.specs:
        execute_run(spec, folder)
    return sweep, folder


def test_the_report_of_real_runs_has_every_part(
    made: tuple[Sweep, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, folder = made
    write_reports(sweep, folder)
    text = capsys.readouterr().out
    assert text.startswith("No answer yet, because no method can be tested")  # one seed, one pair
    out = folder / "reports" / "laptop"
    for end in ("", "_ranking", "_equal_cost", "_target", "_settings"):
        assert (out / f"leaderboard{end}.csv").exists()
    rows = list(csv.DictReader((out / "leaderboard_ranking.csv").open()))
    # The control froze most of the network. BAdam was made for language models.
    marks = {row["method"]: row["mark"] for row in rows}
    assert marks == {"badam": "*", "smartfrz": "", "prefix": " (control)"}
    assert 0.6 < next(float(row["saved"]) for row in rows if row["method"] == "prefix") < 0.67
    assert "badam*" in text
    equal = list(csv.DictReader((out / "leaderboard_equal_cost.csv").open()))
    found = {row["method"]: row for row in equal}
    assert set(found) == {"badam", "smartfrz"}
    # BAdam trained a single layer in so few steps, and cost less than the control.
    assert found["badam"]["pairs"] == "0 of 1, 1 cheaper than the controls"
    assert found["smartfrz"]["pairs"] == "1 of 1"
    assert found["smartfrz"]["prefix"]
    assert not found["smartfrz"]["at_once"]  # this control was not run
    page = write_page(sweep, folder)
    assert page.name == "tiny.html"  # named after the sweep
    assert "No answer yet" in page.read_text()


def test_scores_are_named_after_their_metric_and_only_marks_of_a_table_are_explained(
    made: tuple[Sweep, Path],
) -> None:
    sweep, folder = made
    reader, profile = Reader(folder), Profile.of(describe_profile(sweep))
    frame = reader.read_runs(list_shown_runs(sweep)).assign(slowed=True)
    report = leaderboard.build_report(frame, reader, profile)
    assert report.score == "Accuracy (%)"
    ranking = next(part for part in report.parts if ": ranking" in part.title)
    assert not any(note.startswith(SLOWED_MARK) for note in ranking.notes)
    frame.loc[frame.index[0], "metric"] = "loss"
    assert leaderboard.build_report(frame, reader, profile).score == "Score"


def test_the_cost_to_the_target_is_that_of_the_first_epoch_that_reaches_it(
    made: tuple[Sweep, Path],
) -> None:
    sweep, folder = made
    reader = Reader(folder)
    cells = build_cells(reader.read_runs(list_shown_runs(sweep)))
    full = next(cell for cell in cells if cell.roles[2] == "full")
    whole = measure_time_to_target(make_full_points({full.roles[:2]: full}), folder)
    lines = read_scores(full.runs[0], folder)
    assert lines is not None
    first = next(line for line in lines if line["score"] >= lines[-1]["score"] - 0.5)
    assert (whole.runs, whole.reached) == (1, 1)
    assert whole.flops == pytest.approx(first["flops_exact"] / lines[-1]["flops_exact"])
    for contestant in collect_contestants(cells).values():
        points = list(contestant.defaults.values())
        found = measure_time_to_target(points, folder)
        scores = [line["score"] for line in read_scores(points[0].cell.runs[0], folder) or ()]
        assert found.reached == any(score >= lines[-1]["score"] - 0.5 for score in scores)


def test_every_run_of_the_sweep_is_scored_after_every_epoch(made: tuple[Sweep, Path]) -> None:
    sweep, folder = made
    for entry in sweep.entries:
        result = RunFolder(folder, entry.spec.id).result()
        assert (read_scores({"id": entry.spec.id}, folder) or [])[-1]["score"] == result["accuracy"]
