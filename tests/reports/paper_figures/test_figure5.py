"""Tests of Figure 5, which shows the epochs of runs of Table 2."""

import json
import shutil

import pytest

from bench.errors import UserError
from bench.planning.sweep import load_sweep
from reports.document.profile import Profile
from reports.paper_figures.figure5 import build_report
from reports.runs.epochs import read_epochs
from reports.runs.run_table import Reader
from tests.support.synthetic_results import EPOCHS, PROFILE, list_runs, write_run

RUNS = list_runs(["resnet50", "vgg11"], ["cifar100"], ["full", "smartfrz"], seeds=3)
HERE = Profile.of(PROFILE)
LAST = {"full": 100, "smartfrz": 30}  # MiB in the last epoch


def memory(run, epoch):
    """Return the memory of an epoch in bytes: linear from 100 MiB to LAST, plus the seed in MiB."""
    share = (epoch - 1) / (EPOCHS - 1)
    return ((100 + share * (LAST[run["method"]] - 100)) + run["seed"]) * 2**20


@pytest.fixture
def results(tmp_path):
    for run in RUNS:
        lines = [
            {"epoch": e, "saved_bytes": memory(run, e) - 2**20, "state_bytes": 2**20,
             "cuda_allocated": None, "frozen": 0}
            for e in range(1, EPOCHS + 1)
        ]  # fmt: skip
        folder = write_run(tmp_path, run)
        (folder / "epochs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_memory_saved_is_paired_with_full_training_by_seed(results):
    reader = Reader(results)
    built = build_report(reader.read_runs(RUNS), reader, HERE)
    row = next(row for row in built.parts[0].rows if row["method"] == "smartfrz")
    expected = sum(1 - (30 + s) / (100 + s) for s in range(3)) / 3
    assert row["memory_saved"] == pytest.approx(expected)
    # The means over the epochs are 65 and 100 MiB, plus the seed in MiB.
    expected = sum(1 - (65 + s) / (100 + s) for s in range(3)) / 3
    assert row["mean_saved"] == pytest.approx(expected)
    assert row["first_bytes"] == pytest.approx(101 * 2**20)
    assert row["last_bytes"] == pytest.approx(31 * 2**20)


def test_seed_that_is_missing_on_one_side_is_left_out(results):
    gone = next(run for run in RUNS if run["method"] == "full" and run["seed"] == 2)
    shutil.rmtree(results / "runs" / gone["id"])
    reader = Reader(results)
    row = build_report(reader.read_runs(RUNS), reader, HERE).parts[0].rows[1]
    assert row["mean_saved"] == pytest.approx(sum(1 - (65 + s) / (100 + s) for s in (0, 1)) / 2)
    assert row["memory_saved"] == pytest.approx(sum(1 - (30 + s) / (100 + s) for s in (0, 1)) / 2)


def test_every_seed_and_epoch_is_drawn(results):
    reader = Reader(results)
    frame = reader.read_runs(RUNS)
    figure = build_report(frame, reader, HERE).drawings[0].draw()
    for axes in figure.axes:
        thin = [line for line in axes.lines if line.get_alpha()]
        assert len(thin) == 6
        assert all(len(line.get_xdata()) == EPOCHS for line in thin)
        assert {round(line.get_ydata()[-1]) for line in thin} == {30, 31, 32, 100, 101, 102}


def test_missing_runs_are_counted_and_cells_without_runs_show_a_dash(results):
    shutil.rmtree(results / "runs" / RUNS[-1]["id"])
    reader = Reader(results)
    (table,) = build_report(reader.read_runs(RUNS), reader, HERE).parts
    words = [column.text(table.rows[-1]) for column in table.columns]
    assert "2 of 3" in words
    shutil.rmtree(results)
    reader = Reader(results)
    built = build_report(reader.read_runs(RUNS), reader, HERE)
    assert all(built.parts[0].columns[2].text(row) == "–" for row in built.parts[0].rows)
    for drawing in built.drawings:
        drawing.draw()


def test_damaged_epochs_file_is_named(results):
    path = results / "runs" / RUNS[0]["id"] / "epochs.jsonl"
    path.write_text('{"epoch": 1}\n')
    with pytest.raises(UserError, match=r"epochs\.jsonl"):
        read_epochs(Reader(results).read_runs(RUNS), results)


def test_runs_of_figure_5_are_runs_of_table_2():
    shown = {entry.spec.id for entry in load_sweep("figure5", "laptop").entries}
    assert shown <= {entry.spec.id for entry in load_sweep("table2", "laptop").entries}
    assert len(shown) == 80
