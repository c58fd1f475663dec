"""Tests of the files of a report and of its provenance."""

import json
import shutil

import pytest

from bench.errors import UserError
from reports.publishing.build import write_report
from tests.support.synthetic_results import PROFILE, list_runs, write_run


def write_table2(*arguments):
    return write_report("table2", *arguments).files


RUNS = list_runs(models=["vgg11"], seeds=2)
EXPECTED = [
    "table2.txt", "table2.md", "table2.csv", "table2_pooled.csv", "table2.tex",
    "table2_accuracy_cost.svg", "table2_accuracy_cost.png",
    "table2_freezing_cifar10.svg", "table2_freezing_cifar10.png",
    "table2_freezing_cifar100.svg", "table2_freezing_cifar100.png", "table2.json",
]  # fmt: skip


@pytest.fixture
def results(tmp_path):
    for run in RUNS:
        write_run(tmp_path / "results", run)
    return tmp_path / "results"


def test_all_files_are_written(results, tmp_path):
    files = write_table2(RUNS, results, tmp_path / "out" / "laptop", PROFILE)
    assert [file.name for file in files] == EXPECTED
    assert sorted(EXPECTED) == sorted(file.name for file in (tmp_path / "out" / "laptop").iterdir())
    assert all(file.stat().st_size > 100 for file in files)
    assert "laptop profile" in files[0].read_text()


def test_provenance_names_every_run_and_its_state(results, tmp_path):
    shutil.rmtree(results / "runs" / RUNS[0]["id"])
    record = json.loads(write_table2(RUNS, results, tmp_path / "out", PROFILE)[-1].read_text())
    assert [run["id"] for run in record["runs"]] == [run["id"] for run in RUNS]
    assert [run["state"] for run in record["runs"]] == ["missing"] + ["done"] * (len(RUNS) - 1)
    assert record["profile"] == {**PROFILE, "remark": ""}
    assert record["command"]
    assert record["files"] == EXPECTED[:-1]
    assert not record["command"].startswith("/")


def test_report_depends_only_on_its_results(results, tmp_path):
    out = tmp_path / "out"
    first = [file.read_bytes() for file in write_table2(RUNS, results, out, PROFILE)]
    again = [file.read_bytes() for file in write_table2(RUNS, results, out, PROFILE)]
    assert first == again
    shutil.rmtree(results)
    empty = [file.read_text() for file in write_table2(RUNS, results, out, PROFILE)[:2]]
    assert "0 of 2" in empty[0]
    assert "5 of" not in empty[0]


def test_report_without_runs_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no runs"):
        write_table2([], tmp_path, tmp_path / "out", PROFILE)


def test_unwritable_output_folder_is_an_error(results, tmp_path):
    (tmp_path / "out").write_text("a file where a folder should be")
    for below in (".", "reports/laptop"):
        with pytest.raises(UserError, match="out is a file"):
            write_table2(RUNS, results, tmp_path / "out" / below, PROFILE)


def test_result_with_an_incomplete_layer_is_named(results, tmp_path):
    path = results / "runs" / RUNS[0]["id"] / "result.json"
    values = json.loads(path.read_text())
    del values["layers"][3]["index"]
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"result\.json has no index"):
        write_table2(RUNS, results, tmp_path / "out", PROFILE)
