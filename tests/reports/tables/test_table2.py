"""Tests of Table 2 with synthetic results: counts, marks, verdicts and notes."""

import csv
import io
import math
import re
import shutil

import pytest

from reports.document.csv_file import format_csv
from reports.document.latex import format_latex
from reports.document.markdown import format_markdown
from reports.document.terminal import format_text
from tests.support.synthetic_results import (
    DATASETS,
    FULL_FLOPS,
    METHODS,
    PROFILE,
    list_runs,
    make_result,
    write_run,
)
from tests.support.table2_results import (
    RUNS,
    build_from,
    find_row,
    format_parts,
    list_runs_of,
    set_accuracy,
)


def test_rows_contain_the_means_of_the_results(results):
    found = find_row(build_from(results), "smartfrz")
    values = [make_result(run) for run in list_runs_of("smartfrz")]
    assert found["seeds"] == "5 of 5"
    assert found["accuracy"] == pytest.approx(sum(v["accuracy"] for v in values) / 5)
    seconds = [v["clocks"]["train"] + v["clocks"]["decide"] for v in values]
    assert found["time_s"] == pytest.approx(sum(seconds) / 5)
    assert found["paper_forward"] + found["paper_backward"] == pytest.approx(found["paper_total"])
    assert found["exact_forward"] + found["exact_backward"] == pytest.approx(found["exact_total"])
    assert found["flops_saved"] == pytest.approx(1 - found["paper_total"] / FULL_FLOPS)
    spent = found["exact_total"] + found["decide_flops"]
    assert found["exact_saved"] == pytest.approx(1 - spent / (0.97 * FULL_FLOPS))
    assert found["realised"] == pytest.approx(found["time_saved"] / found["flops_saved"])
    assert found["published_accuracy"] == 96.12


def test_difference_interval_and_verdict_equal_manual_values(results):
    set_accuracy(results, "full", [90, 91, 92, 93, 94])
    set_accuracy(results, "linear", [89.9, 90.9, 91.9, 92.9, 93.4])
    found = find_row(build_from(results), "linear")
    # differences −0.1, −0.1, −0.1, −0.1, −0.6: mean −0.2, sd √0.05, t₄ 2.776
    half = 2.7764451 * math.sqrt(0.05 / 5)
    assert found["difference"] == pytest.approx(-0.2)
    assert found["difference_low"] == pytest.approx(-0.2 - half)
    assert found["difference_high"] == pytest.approx(-0.2 + half)
    assert found["verdict"] == "non-inferior"
    set_accuracy(results, "linear", [89, 90, 91, 92, 93.1])
    assert find_row(build_from(results), "linear")["verdict"] == "inferior"
    set_accuracy(results, "linear", [89, 91, 92, 93, 94])
    assert find_row(build_from(results), "linear")["verdict"] == "inconclusive"


def test_deleted_runs_lower_the_seed_count_and_an_empty_cell_shows_dashes(results):
    runs = list_runs_of("smartfrz")
    shutil.rmtree(results / "runs" / runs[0]["id"])
    table = build_from(results)
    assert find_row(table, "smartfrz")["seeds"] == "4 of 5"
    assert find_row(table, "smartfrz")["paired_seeds"] == 4
    assert "1 of 80 runs has no result yet" in format_parts(table)
    for run in runs[1:]:
        shutil.rmtree(results / "runs" / run["id"])
    table = build_from(results)
    line = next(
        line for line in format_markdown(table.results).splitlines() if "| 0 of 5 |" in line
    )
    assert line == "|  |  | smartfrz | 0 of 5 | – | – | – | 96.12 ± 0.19 | 1,955 | 8,122 |"
    assert find_row(table, "smartfrz")["verdict"] is None
    assert table.pooled.rows[2]["pairs"] == "3 of 4, 15 of 20 runs"


def test_table_without_results_shows_only_dashes(tmp_path):
    table = build_from(tmp_path)
    assert all(r["seeds"] == "0 of 5" for r in table.results.rows)
    assert "80 of 80 runs have no result yet" in format_parts(table)
    assert "no verdict. No speed-up claimed." in format_parts(table)


def test_verdict_with_missing_seeds_is_never_non_inferior(results):
    before = find_row(build_from(results), "smartfrz")["verdict"]
    assert before == "non-inferior"
    shutil.rmtree(results / "runs" / list_runs_of("smartfrz")[0]["id"])
    table = build_from(results)
    assert find_row(table, "smartfrz")["difference_low"] > -0.5
    assert find_row(table, "smartfrz")["verdict"] == "inconclusive"
    assert {r["method"]: r["verdict"] for r in table.pooled.rows}["smartfrz"] == "inconclusive"


def test_diverged_seed_is_reported_and_prevents_non_inferior(results):
    run = list_runs_of("smartfrz")[3]
    assert find_row(build_from(results), "smartfrz")["verdict"] == "non-inferior"
    write_run(results, run, status="diverged", accuracy=None, reason="loss is nan at step 7")
    table = build_from(results)
    found = find_row(table, "smartfrz")
    assert found["seeds"] == "4 of 5 (1 diverged)"
    assert found["verdict"] == "inconclusive"
    others = [make_result(r)["accuracy"] for r in list_runs_of("smartfrz") if r is not run]
    assert found["accuracy"] == pytest.approx(sum(others) / 4)
    words = format_parts(table)
    assert re.search(r"4 of 5 \(1 diverged\) \| [\d.]+ ± [\d.]+ †", words)
    assert f"seed 3 (run {run['id']}): loss is nan at step 7." in words
    assert "† a seed diverged" in words
    assert table.pooled.rows[2]["verdict"] == "inconclusive"


@pytest.mark.parametrize("lost", ["diverged", "missing"])
def test_a_difference_from_fewer_seeds_than_wanted_is_marked(results, lost):
    def differences(part):
        [column] = [c for c in part.columns if c.key == "difference"]
        return {(r["model"], r["dataset"], r["method"]): column.text(r) for r in part.rows}

    table = build_from(results)
    assert not any("(" in d for d in differences(table.against).values())
    run = list_runs_of("full")[0]
    write_run(results, run, status="diverged", accuracy=None)
    if lost == "missing":
        shutil.rmtree(results / "runs" / run["id"])
    table = build_from(results)
    for part, mark in ((table.against, "] (4 of 5 seeds)"), (table.compact, "] (n=4)")):
        for (model, dataset, method), words in differences(part).items():
            here = (model, dataset) == ("laptop_resnet (for resnet50)", "digits10 (for cifar10)")
            assert words.endswith(mark) == (here and method != "full")
    for run in list_runs_of("full"):
        shutil.rmtree(results / "runs" / run["id"], ignore_errors=True)
    assert "–" in differences(build_from(results).against).values()  # no pair, no mark


def test_pooled_p_values_are_nan_while_a_run_is_missing(results):
    def pooled():
        return {r["method"]: r for r in build_from(results).pooled.rows}

    assert pooled()["smartfrz"]["p_no_worse"] < 0.05
    shutil.rmtree(results / "runs" / list_runs_of("smartfrz")[0]["id"])
    found = pooled()
    assert math.isnan(found["smartfrz"]["p_no_worse"])
    assert math.isnan(found["smartfrz"]["p_different"])
    assert found["linear"]["p_different"] >= 0


def test_failed_run_is_reported_with_its_reason(results):
    run = list_runs_of("linear")[1]
    folder = results / "runs" / run["id"]
    (folder / "result.json").unlink()
    (folder / "failure.json").write_text('{"reason": "disk full", "log": "x"}')
    words = format_parts(build_from(results))
    assert "4 of 5 (1 failed)" in words
    assert f"(run {run['id']}): disk full." in words


def test_one_seed_has_no_interval_and_an_inconclusive_verdict(results):
    runs = [run for run in RUNS if run["seed"] == 0]
    table = build_from(results, runs)
    found = find_row(table, "smartfrz")
    assert math.isnan(found["difference_low"])
    assert found["verdict"] == "inconclusive"
    assert math.isnan(found["accuracy_sd"])
    assert re.search(r"\| smartfrz \| 1 of 1 \| [\d.]+ \|", format_parts(table))


def test_without_full_training_there_is_no_comparison(results):
    runs = [run for run in RUNS if run["method"] != "full"]
    found = find_row(build_from(results, runs), "smartfrz")
    assert found["verdict"] is None
    assert math.isnan(found["flops_saved"])
    assert found["seeds"] == "5 of 5"


def test_pooling_counts_each_pair_once(results):
    for pair, (model, dataset) in enumerate(
        (m, d) for m in ("resnet50", "vgg11") for d in DATASETS
    ):
        for run in list_runs_of("full", model, dataset):
            write_run(results, run, accuracy=80.0 + run["seed"])
        for run in list_runs_of("autofreeze", model, dataset):
            write_run(results, run, accuracy=80.0 + run["seed"] - 0.1 * pair)
    pooled = {r["method"]: r for r in build_from(results).pooled.rows}["autofreeze"]
    # means 0, −0.1, −0.2, −0.3: mean −0.15, sd √(0.05/3), t₃ 3.1824
    half = 3.1824463 * math.sqrt(0.05 / 3 / 4)
    assert pooled["difference"] == pytest.approx(-0.15)
    assert pooled["difference_low"] == pytest.approx(-0.15 - half)
    assert pooled["verdict"] == "non-inferior"
    assert pooled["pairs"] == "4 of 4"


def test_holm_correction_counts_the_strategies_of_the_table(results):
    few = {r["method"]: r for r in build_from(results).pooled.rows}
    runs = [run for run in RUNS if run["method"] in ("full", "smartfrz")]
    alone = build_from(results, runs).pooled.rows[0]
    assert few["smartfrz"]["p_no_worse"] >= alone["p_no_worse"]


def test_notes_name_profile_devices_predictor_and_statistics(results):
    words = format_parts(build_from(results))
    for name in (
        "laptop profile", "laptop_resnet for resnet50", "digits10 for cifar10",
        "a made-up CPU, 1 thread", "Predictor: made up", "sample standard deviation",
        "conditional on one backbone per model and on one predictor", "−0.5",
    ):  # fmt: skip
        assert name in words


def test_runs_may_use_the_papers_names_or_the_stand_ins(results):
    used = {**PROFILE["stands_for"]}
    runs = [{**r, "model": used[r["model"]], "dataset": used[r["dataset"]]} for r in RUNS]
    assert format_parts(build_from(results, runs)) == format_parts(build_from(results))


def test_profile_without_stand_ins_lists_none(results):
    words = format_parts(
        build_from(results, profile={"name": "paper", "stands_for": {"vgg11": "vgg11"}})
    )
    assert "Profile: paper." in words
    assert "Stand-ins" not in words
    assert "(for" not in words


def test_user_strategy_appears_with_its_name_escaped(tmp_path):
    runs = list_runs(["vgg11"], ["cifar10"], ["full", "early_half|x"])
    for run in runs:
        write_run(tmp_path, run)
    table = build_from(tmp_path, runs)
    assert "early_half\\|x" in format_parts(table)
    assert any("early\\_half$|$x" in format_latex(part, "l") for part in table.parts)


def test_csv_has_unrounded_numbers_and_terminal_text_fits(results):
    table = build_from(results)
    rows = list(csv.DictReader(io.StringIO(format_csv(table.results))))
    assert len(rows) == len(METHODS) * 4
    assert float(rows[0]["accuracy"]) == table.results.rows[0]["accuracy"]
    lines = format_text(table.compact).splitlines()
    assert max(map(len, lines)) <= 120
    assert not any("…" in line for line in lines)
