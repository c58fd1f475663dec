"""Tests of the headline of the page: the claim and the number of runs behind it."""

import re
import shutil
from dataclasses import replace

import pytest

from reports.comparison.method_rows import compare_cells, pool_compared
from reports.document.profile import Profile
from reports.page.run_details import DetailsByRow
from reports.page.summary import build_summary, write_headline
from reports.publishing.build import build_report
from reports.runs.cells import build_cells
from reports.runs.run_table import Reader
from tests.support.synthetic_results import MODELS, PROFILE, list_runs, make_result, write_run

RUNS = list_runs(seeds=2)


@pytest.fixture
def results(tmp_path):
    """Write results in which SmartFRZ and AutoFreeze lose no accuracy, and return their folder."""
    for run in RUNS:
        same = make_result({**run, "method": "smartfrz"})["accuracy"]
        write_run(tmp_path, run, **({"accuracy": same} if run["method"] == "autofreeze" else {}))
    return tmp_path


def headline(results):
    return headline_of(results, RUNS)


def headline_of(results, runs):
    return build_summary(Reader(results).read_runs(runs)).headline


def test_headline_of_an_incomplete_sweep_is_preliminary(results):
    whole = headline(results)
    assert "Preliminary" not in whole
    shutil.rmtree(results / "runs" / RUNS[0]["id"])
    start = f"Preliminary: results of {len(RUNS) - 1} of {len(RUNS)} runs. "
    assert headline(results).startswith(start)
    shutil.rmtree(results / "runs")
    assert headline(results).startswith("No conclusion yet, because no method can be compared")


def test_headline_names_no_best_method_if_two_save_alike(results):
    assert headline(results).startswith("Freezing pays off, and smartfrz saves most. It saves ")
    for i, run in enumerate(RUNS):
        if run["method"] == "linear":
            rival = make_result({**run, "method": "smartfrz"})
            shift = 1.02 if i // 8 % 2 else 1 / 1.02  # each method is faster on half of the pairs
            clocks = {key: shift * value for key, value in rival["clocks"].items()}
            write_run(results, run, clocks=clocks, cpu=clocks, accuracy=rival["accuracy"])
    words = headline(results)
    assert words.startswith("Freezing pays off: ")
    assert "smartfrz (" in words
    assert "linear (" in words
    assert " and " in words
    assert words.endswith("The data cannot tell which of them saves most.")


def test_a_loss_is_named_only_if_it_stays_significant_after_the_correction(results):
    pools = pool_compared(compare_cells(build_cells(Reader(results).read_runs(RUNS))))
    pool = replace(pools["linear"], verdict="worse, margin open", p_no_worse=1.0, p_different=0.04)
    assert "linear loses accuracy." in write_headline({"linear": pool}, {})
    unsure = write_headline({"linear": replace(pool, p_different=0.06)}, {})
    assert "The runs cannot tell whether linear loses accuracy." in unsure


@pytest.mark.parametrize("saved", [-0.02, 0.0, 0.004])
def test_a_method_without_a_saving_is_not_said_to_save(results, saved):
    pools = pool_compared(compare_cells(build_cells(Reader(results).read_runs(RUNS))))
    kept = replace(pools["smartfrz"], slowed=1, exact_saved=0.3)  # no speed-up is claimed
    none = replace(kept, exact_saved=saved)
    alone = write_headline({"smartfrz": none}, {})
    assert "smartfrz saves no computation and loses less than 0.5 points of accuracy" in alone
    mixed = write_headline({"smartfrz": kept, "linear": none}, {"prefix": none, "random": kept})
    assert "smartfrz saves 30 % of the FLOPs and loses less than" in mixed
    assert "linear saves no computation and loses less than" in mixed
    assert "The simple control random loses less than 0.5 points of accuracy and saves 30" in mixed
    assert "prefix loses less than 0.5 points of accuracy and saves no computation." in mixed
    assert "0 % of the FLOPs" not in mixed.replace("30 %", "")


def test_a_single_method_that_pays_off_is_not_called_the_best(results):
    frame = Reader(results).read_runs(
        [run for run in RUNS if run["method"] in ("full", "smartfrz")]
    )
    words = build_summary(frame).headline
    assert words.startswith("Freezing pays off with smartfrz, which saves ")


def test_no_speed_up_is_claimed_from_runs_that_shared_their_cpu(results):
    assert headline(results).startswith("Freezing pays off, and smartfrz saves most")
    run = next(run for run in RUNS if run["method"] == "full")
    slow = {"train": 200.0, "decide": 0.0, "evaluate": 1.0, "prepare": 2.0, "whole": 203.0}
    write_run(results, run, clocks=slow)  # the CPU time stays the same
    assert headline(results).startswith(
        "No method is shown to save training time without losing accuracy. "
    )
    assert "shared their CPU with another process" in headline(results)
    found = build_summary(Reader(results).read_runs(RUNS)).sentences
    assert any("1 of the compared runs probably shared a CPU" in words for words in found)
    report = build_report("table2", RUNS, Reader(results), PROFILE)
    row = next(row for row in report.parts[0].rows if row["slowed"])
    assert "¶" in row["time_mark"]
    assert any(note.startswith("¶ 1 of ") for note in report.parts[0].notes)


def test_headline_says_which_methods_lose_accuracy_and_which_controls_pay_off(results):
    runs = list_runs(methods=["full", "smartfrz", "linear", "prefix"], seeds=2)
    for run in runs:
        if run["method"] == "prefix":
            write_run(results, run, accuracy=make_result({**run, "method": "smartfrz"})["accuracy"])
        if run["method"] == "linear":
            write_run(results, run, accuracy=make_result(run)["accuracy"] - 5)
    words = headline_of(results, runs)
    assert words.startswith("Freezing pays off with smartfrz")
    assert "linear loses accuracy." in words
    assert words.endswith("The simple control prefix pays off.")
    for run in runs:
        if run["method"] == "prefix":
            slow = make_result({**run, "method": "full"})["clocks"]
            same = make_result({**run, "method": "smartfrz"})["accuracy"]
            write_run(results, run, accuracy=same, clocks=slow, cpu=slow)
    assert "The simple control prefix loses less than 0.5 points" in headline_of(results, runs)
    assert "cannot tell" not in words


def test_runs_of_different_devices_have_no_mean_time(results):
    write_run(results, RUNS[0], device="another CPU")
    report = build_report("table2", RUNS, Reader(results), PROFILE)
    first, second, *_ = DetailsByRow(report, Profile.of(PROFILE)).all
    assert dict(first.facts)["Time"] == "no mean, because the runs used different devices"
    assert dict(second.facts)["Time"].endswith(" s")


def test_a_single_seed_has_neither_a_spread_nor_an_interval(results):
    runs = list_runs(["resnet50"], ["cifar10"], ["full", "linear"], seeds=1)
    for run in runs:
        write_run(results, run, energy={"cpu": {"joules": 1e3, "idle_watts": 10.0, "why": ""}})
    report = build_report("table2", runs, Reader(results), PROFILE)
    facts = dict(DetailsByRow(report, Profile.of(PROFILE)).all[1].facts)
    assert not [text for text in facts.values() if re.search("±|–|interval", text)]
    assert re.fullmatch(r"\d+\.\d\d %", facts["Accuracy"])
    assert re.fullmatch(r"−?\d+\.\d %", facts["Time saved"])
    assert facts["Difference from full"].endswith(" points")
    assert facts["Verdict"].endswith("from 1 paired seed")
    assert facts["Energy"] == "1,000 J, idle 10.0 W"


def test_the_interval_of_a_method_is_the_one_that_its_verdict_rests_on(tmp_path):
    """Vary the loss by model, so that the interval over the pairs is too narrow."""
    runs = list_runs(methods=("full", "linear"), seeds=3)
    for run in runs:
        lost = 0.3 + 0.7 * MODELS.index(run["model"]) if run["method"] == "linear" else 0.0
        write_run(tmp_path, run, accuracy=90 - lost + run["seed"] / 10)
    frame = Reader(tmp_path).read_runs(runs)
    [pooled] = pool_compared(compare_cells(build_cells(frame))).values()
    assert pooled.difference.high < 0 < pooled.widest.high
    [shown] = build_summary(frame).standings
    assert shown.difference.endswith(f"[−{-pooled.widest.low:.2f}, +{pooled.widest.high:.2f}]")
    assert shown.verdict == pooled.verdict
