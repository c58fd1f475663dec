"""Tests of reading runs: wanted runs, their states, and damaged files."""

import json
import math
import shutil
import time

import pytest

from bench.errors import UserError
from reports.document.captions import describe_devices_and_predictor
from reports.document.profile import Profile
from reports.runs import run_table
from reports.runs.cells import build_cells
from tests.support.synthetic_results import PROFILE, list_runs, make_result, write_run

ONE = list_runs(models=["vgg11"], datasets=["cifar10"], methods=["full"])


@pytest.fixture
def results(tmp_path):
    for run in ONE:
        write_run(tmp_path, run)
    return tmp_path


def test_table_has_one_row_per_wanted_run(results):
    write_run(results, {**ONE[0], "id": "stranger"})
    frame = run_table.read_runs(ONE, results)
    assert list(frame.id) == [run["id"] for run in ONE]
    assert set(frame.state) == {"done"}
    expected = make_result(ONE[2])
    row = frame.iloc[2]
    assert row.accuracy == expected["accuracy"]
    assert row.time_s == expected["clocks"]["train"] + expected["clocks"]["decide"]
    assert row.paper_total == expected["flops"]["paper"]["total"]
    assert row.memory_bytes == 42 << 20
    assert math.isnan(row.cuda_allocated)
    assert row.device == "a made-up CPU, 1 thread"


def test_every_state_is_detected(results):
    folders = [results / "runs" / run["id"] for run in ONE]
    write_run(results, ONE[0], status="diverged", accuracy=None, reason="loss is nan")
    (folders[1] / "result.json").unlink()
    (folders[1] / "failure.json").write_text(json.dumps({"reason": "disk full", "log": ""}))
    (folders[2] / "result.json").unlink()
    shutil.rmtree(folders[3])
    frame = run_table.read_runs(ONE, results)
    assert list(frame.state) == ["diverged", "failed", "unfinished", "missing", "done"]
    assert list(frame.reason)[:2] == ["loss is nan", "disk full"]
    [cell] = build_cells(frame)
    assert (cell.n, cell.wanted, cell.diverged, cell.failed) == (1, 5, 1, 1)
    assert cell.mean("accuracy") == frame.accuracy[4]
    assert math.isnan(cell.sd("accuracy"))


def test_status_done_without_an_accuracy_counts_as_diverged(results):
    write_run(results, ONE[0], accuracy=math.nan)
    assert run_table.read_runs(ONE, results).state[0] == "diverged"


def test_results_of_earlier_releases_lack_executed_flops(results):
    flops = make_result(ONE[0])["flops"]
    earlier = {key: value for key, value in flops.items() if key != "executed"}
    write_run(results, ONE[0], flops=earlier)
    (row,) = run_table.read_runs(ONE[:1], results).to_dict("records")
    assert row["state"] == "done"
    assert math.isnan(row["executed_total"])
    (row,) = run_table.read_runs(ONE[1:2], results).to_dict("records")
    assert row["executed_total"] == make_result(ONE[1])["flops"]["executed"]["total"]


def test_result_takes_precedence_over_an_earlier_failure(results):
    path = results / "runs" / ONE[0]["id"] / "failure.json"
    path.write_text("{}")
    assert run_table.read_runs(ONE, results).state[0] == "done"


def test_missing_results_folder_makes_all_runs_missing(tmp_path):
    frame = run_table.read_runs(ONE, tmp_path / "nowhere")
    assert set(frame.state) == {"missing"}
    assert run_table.read_runs([], tmp_path).empty


@pytest.mark.parametrize("text", ['{"id": "vgg11-cif', "[1, 2]", "", "\x00\x00"])
@pytest.mark.parametrize("name", ["result.json", "failure.json", "environment.json"])
def test_damaged_file_is_named_in_the_error(results, name, text):
    folder = results / "runs" / ONE[0]["id"]
    if name == "failure.json":
        (folder / "result.json").unlink()
    (folder / name).write_text(text)
    with pytest.raises(UserError, match=rf"{ONE[0]['id']}/{name}") as error:
        run_table.read_runs(ONE, results)
    assert "\n" not in str(error.value)


def test_damaged_side_file_can_be_deleted_without_losing_the_run(results):
    folder = results / "runs" / ONE[0]["id"]
    for name, mend in (
        ("environment.json", "not compared"),
        ("retime.json", "writes it again"),
    ):
        (folder / name).write_text("{")
        with pytest.raises(UserError, match=f"delete this file.*{mend}"):
            run_table.read_runs(ONE, results)
        (folder / name).unlink()
        assert run_table.read_runs(ONE, results).state[0] == "done"


def test_unknown_devices_differ_from_each_other(results):
    for run in ONE:
        (results / "runs" / run["id"] / "environment.json").unlink()
    frame = run_table.read_runs(ONE, results)
    assert frame.device.nunique() == len(ONE) > 1
    assert "Device: unknown devices." in describe_devices_and_predictor(
        build_cells(frame), Profile.of(PROFILE)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"id": "another"},
        {"layers": None},
        {"layers": [{"index": None, "name": "a", "frozen_at_step": None}]},
        {"status": None, "accuracy": True},
        {"accuracy": "ninety"},
        {"flops": {"paper": {}}},
        {"clocks": None},
    ],
)
def test_result_with_wrong_content_is_named_in_the_error(results, change):
    write_run(results, ONE[1], **change)
    with pytest.raises(UserError, match=rf"{ONE[1]['id']}/result\.json"):
        run_table.read_runs(ONE, results)


def test_different_settings_cannot_share_a_row(results):
    other = {**ONE[1], "cell": "another"}
    with pytest.raises(UserError, match="number of settings: 2"):
        build_cells(run_table.read_runs([ONE[0], other], results))
    twice = {**ONE[0], "id": ONE[1]["id"]}
    with pytest.raises(UserError, match="of seeds: 1"):
        build_cells(run_table.read_runs([ONE[0], twice], results))


def test_cells_are_sorted_by_first_appearance_of_their_roles(tmp_path):
    runs = list_runs(["vgg11", "resnet50"], ["cifar100", "cifar10"], ["smartfrz", "full"], seeds=1)
    runs = [*runs[5:], *runs[:5]]  # resnet50 first, in the middle of its runs
    order = [cell.roles for cell in build_cells(run_table.read_runs(runs, tmp_path))]
    assert order == sorted(
        order,
        key=lambda r: (r[0] != "resnet50", r[1] != runs[0]["dataset"], r[2] != runs[0]["method"]),
    )


def test_freezing_times_are_in_epochs(results):
    layers = [
        {"index": 0, "name": "stem", "frozen_at_step": 90},
        {"index": 1, "name": "head", "frozen_at_step": None},
    ]
    write_run(results, ONE[0], layers=layers, steps=600, steps_per_epoch=60)
    write_run(results, ONE[1], status="diverged", accuracy=None, layers=layers)
    reader = run_table.Reader(results)
    freeze_steps = reader.read_freeze_steps(reader.read_runs(ONE[:2]))
    assert list(freeze_steps.seed) == [0, 0]
    assert freeze_steps.frozen_at[0] == 1.5
    assert math.isnan(freeze_steps.frozen_at[1])
    assert list(freeze_steps.epochs) == [10, 10]


def test_ten_thousand_results_are_read_in_ten_seconds(tmp_path):
    models = [f"model{i}" for i in range(50)]
    runs = list_runs(models, [f"data{i}" for i in range(10)], seeds=5)
    assert len(runs) == 10_000
    text = json.dumps(make_result(runs[0]))
    for run in runs:  # same text except for the id; writing is not timed
        folder = tmp_path / "runs" / run["id"]
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(text.replace(runs[0]["id"], run["id"]))
        (folder / "environment.json").write_text('{"device": "a made-up CPU", "threads": 1}')
    start = time.process_time()
    found = build_cells(run_table.read_runs(runs, tmp_path))
    assert time.process_time() - start < 10
    assert sum(cell.n for cell in found) == 10_000
