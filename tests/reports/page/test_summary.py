"""The page's first sentence: what is claimed, and on how many of the runs."""

import shutil

import pytest

from reports.document.profile import Profile
from reports.page.run_details import DetailsByRow
from reports.page.summary import build_answer
from reports.publishing.build import build_report
from reports.runs.run_table import Reader
from tests.support.synthetic_results import PROFILE, list_runs, make_result, write_run

RUNS = list_runs(seeds=2)


@pytest.fixture
def results(tmp_path):
    for run in RUNS:
        write_run(tmp_path, run)
    return tmp_path


def headline(results):
    return build_answer(Reader(results).runs(RUNS)).headline


def test_a_claim_made_on_some_of_the_runs_says_so(results):
    whole = headline(results)
    assert "So far" not in whole
    shutil.rmtree(results / "runs" / RUNS[0]["id"])
    assert headline(results).startswith(f"So far, with {len(RUNS) - 1} of {len(RUNS)} runs: ")
    shutil.rmtree(results / "runs")
    assert headline(results) == "No runs yet: nothing can be said."


def test_one_of_two_that_pay_alike_does_not_pay_most(results):
    assert headline(results).startswith("Freezing pays, and smartfrz pays most")
    for i, run in enumerate(RUNS):
        if run["method"] == "linear":
            rival = make_result({**run, "method": "smartfrz"})
            shift = 1.02 if i // 8 % 2 else 1 / 1.02  # by pair: now the one, now the other
            clocks = {key: shift * value for key, value in rival["clocks"].items()}
            write_run(results, run, clocks=clocks, cpu=clocks, accuracy=rival["accuracy"])
    words = headline(results)
    assert words.startswith("Freezing pays: ")
    assert "smartfrz (" in words
    assert "linear (" in words
    assert words.endswith("which saves most is not told apart.")


def test_a_method_that_pays_alone_is_not_called_the_best_of_several(results):
    frame = Reader(results).runs([run for run in RUNS if run["method"] in ("full", "smartfrz")])
    assert build_answer(frame).headline.startswith("Freezing pays with smartfrz: it saves ")


def test_no_speed_up_is_claimed_from_a_busy_machine(results):
    assert headline(results).startswith("Freezing pays, and smartfrz pays most")
    run = next(run for run in RUNS if run["method"] == "full")
    slow = {"train": 200.0, "decide": 0.0, "evaluate": 1.0, "prepare": 2.0, "whole": 203.0}
    write_run(results, run, clocks=slow)  # the CPU clock says what it took
    assert headline(results).startswith("No method is shown to pay")
    found = build_answer(Reader(results).runs(RUNS)).sentences
    assert any("1 of the compared runs shared a CPU" in words for words in found)
    report = build_report("table2", RUNS, Reader(results), PROFILE)
    row = next(row for row in report.parts[0].rows if row["slowed"])
    assert "¶" in row["time_mark"]
    assert any(note.startswith("¶ 1 of ") for note in report.parts[0].notes)


def test_runs_of_several_devices_have_no_mean_time(results):
    write_run(results, RUNS[0], device="another CPU")
    report = build_report("table2", RUNS, Reader(results), PROFILE)
    first, second, *_ = DetailsByRow(report, Profile.of(PROFILE)).all
    assert dict(first.facts)["Time"] == "of several devices: no mean"
    assert "over 2 of 2" in dict(second.facts)["Time"]
