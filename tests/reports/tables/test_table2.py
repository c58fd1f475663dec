"""Tests of Table 2 with synthetic results: counts, marks, verdicts, savings and claims."""

import csv
import io
import json
import math
import re
import shutil

import pytest

from reports.document.csv_file import format_csv
from reports.document.latex import format_latex
from reports.document.markdown import format_markdown
from reports.document.profile import Profile
from reports.document.terminal import format_text
from reports.page.summary import write_headline
from reports.runs import run_table
from reports.runs.run_table import read_runs
from reports.tables.table2 import build_table2
from tests.support.synthetic_results import (
    DATASETS,
    FULL_FLOPS,
    METHODS,
    PROFILE,
    list_runs,
    make_result,
    write_run,
)

RUNS = list_runs(models=["resnet50", "vgg11"])


@pytest.fixture
def results(tmp_path):
    for run in RUNS:
        write_run(tmp_path, run)
    return tmp_path


def build(results, runs=RUNS, profile=PROFILE):
    return build_table2(run_table.read_runs(runs, results), Profile.of(profile))


def row(table, method, model="laptop_resnet (for resnet50)", dataset="digits10 (for cifar10)"):
    keys = (model, dataset, method)
    [found] = [r for r in table.results.rows if (r["model"], r["dataset"], r["method"]) == keys]
    return found


def runs_of(method, model="resnet50", dataset="cifar10"):
    roles = {"model": model, "dataset": dataset, "method": method}
    return [run for run in RUNS if roles.items() <= run.items()]


def set_accuracy(results, method, accuracies, **changes):
    for run, accuracy in zip(runs_of(method), accuracies, strict=True):
        write_run(results, run, accuracy=accuracy, **changes)


def text(table):
    return "\n".join(format_markdown(part) for part in table.parts)


def test_rows_contain_the_means_of_the_results(results):
    found = row(build(results), "smartfrz")
    values = [make_result(run) for run in runs_of("smartfrz")]
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
    found = row(build(results), "linear")
    # differences −0.1, −0.1, −0.1, −0.1, −0.6: mean −0.2, sd √0.05, t₄ 2.776
    half = 2.7764451 * math.sqrt(0.05 / 5)
    assert found["difference"] == pytest.approx(-0.2)
    assert found["difference_low"] == pytest.approx(-0.2 - half)
    assert found["difference_high"] == pytest.approx(-0.2 + half)
    assert found["verdict"] == "non-inferior"
    set_accuracy(results, "linear", [89, 90, 91, 92, 93.1])
    assert row(build(results), "linear")["verdict"] == "inferior"
    set_accuracy(results, "linear", [89, 91, 92, 93, 94])
    assert row(build(results), "linear")["verdict"] == "inconclusive"


def test_deleted_runs_lower_the_seed_count_and_an_empty_cell_shows_dashes(results):
    runs = runs_of("smartfrz")
    shutil.rmtree(results / "runs" / runs[0]["id"])
    table = build(results)
    assert row(table, "smartfrz")["seeds"] == "4 of 5"
    assert row(table, "smartfrz")["paired_seeds"] == 4
    assert "1 of 80 runs have no result yet" in text(table)
    for run in runs[1:]:
        shutil.rmtree(results / "runs" / run["id"])
    table = build(results)
    line = next(
        line for line in format_markdown(table.results).splitlines() if "| 0 of 5 |" in line
    )
    assert line == "|  |  | smartfrz | 0 of 5 | – | – | – | 96.12 ± 0.19 | 1,955 | 8,122 |"
    assert row(table, "smartfrz")["verdict"] is None
    assert table.pooled.rows[2]["pairs"] == "3 of 4, 15 of 20 runs"


def test_table_without_results_shows_only_dashes(tmp_path):
    table = build(tmp_path)
    assert all(r["seeds"] == "0 of 5" for r in table.results.rows)
    assert "80 of 80 runs have no result yet" in text(table)
    assert "no verdict. No speed-up claimed." in text(table)


def test_verdict_with_missing_seeds_is_never_non_inferior(results):
    before = row(build(results), "smartfrz")["verdict"]
    assert before == "non-inferior"
    shutil.rmtree(results / "runs" / runs_of("smartfrz")[0]["id"])
    table = build(results)
    assert row(table, "smartfrz")["difference_low"] > -0.5
    assert row(table, "smartfrz")["verdict"] == "inconclusive"
    assert {r["method"]: r["verdict"] for r in table.pooled.rows}["smartfrz"] == "inconclusive"


def test_pooled_realised_uses_mean_shares_including_pairs_without_savings(results):
    before = {r["method"]: r["realised"] for r in build(results).pooled.rows}
    for run in runs_of("smartfrz", "vgg11", "cifar10"):
        full = next(r for r in RUNS if r["seed"] == run["seed"] and r["method"] == "full")
        write_run(results, run, flops=make_result(full)["flops"])
    after = {r["method"]: r for r in build(results).pooled.rows}
    ours = after["smartfrz"]
    assert ours["realised"] == pytest.approx(ours["time_saved"] / ours["flops_saved"])
    assert ours["realised"] > before["smartfrz"] > 0
    assert after["linear"]["realised"] == before["linear"]


def test_diverged_seed_is_reported_and_prevents_non_inferior(results):
    run = runs_of("smartfrz")[3]
    assert row(build(results), "smartfrz")["verdict"] == "non-inferior"
    write_run(results, run, status="diverged", accuracy=None, reason="loss is nan at step 7")
    table = build(results)
    found = row(table, "smartfrz")
    assert found["seeds"] == "4 of 5 (1 diverged)"
    assert found["verdict"] == "inconclusive"
    others = [make_result(r)["accuracy"] for r in runs_of("smartfrz") if r is not run]
    assert found["accuracy"] == pytest.approx(sum(others) / 4)
    words = text(table)
    assert re.search(r"4 of 5 \(1 diverged\) \| [\d.]+ ± [\d.]+ †", words)
    assert f"seed 3 (run {run['id']}): loss is nan at step 7." in words
    assert "† a seed diverged" in words
    assert table.pooled.rows[2]["verdict"] == "inconclusive"


@pytest.mark.parametrize("lost", ["diverged", "missing"])
def test_a_difference_from_fewer_seeds_than_wanted_is_marked(results, lost):
    def differences(part):
        [column] = [c for c in part.columns if c.key == "difference"]
        return {(r["model"], r["dataset"], r["method"]): column.text(r) for r in part.rows}

    table = build(results)
    assert not any("(" in d for d in differences(table.against).values())
    run = runs_of("full")[0]
    write_run(results, run, status="diverged", accuracy=None)
    if lost == "missing":
        shutil.rmtree(results / "runs" / run["id"])
    table = build(results)
    for part, mark in ((table.against, "] (4 of 5 seeds)"), (table.compact, "] (n=4)")):
        for (model, dataset, method), words in differences(part).items():
            here = (model, dataset) == ("laptop_resnet (for resnet50)", "digits10 (for cifar10)")
            assert words.endswith(mark) == (here and method != "full")
    for run in runs_of("full"):
        shutil.rmtree(results / "runs" / run["id"], ignore_errors=True)
    assert "–" in differences(build(results).against).values()  # no pair, no mark


def test_pooled_p_values_are_nan_while_a_run_is_missing(results):
    def pooled():
        return {r["method"]: r for r in build(results).pooled.rows}

    assert pooled()["smartfrz"]["p_no_worse"] < 0.05
    shutil.rmtree(results / "runs" / runs_of("smartfrz")[0]["id"])
    found = pooled()
    assert math.isnan(found["smartfrz"]["p_no_worse"])
    assert math.isnan(found["smartfrz"]["p_different"])
    assert found["linear"]["p_different"] >= 0


def test_failed_run_is_reported_with_its_reason(results):
    run = runs_of("linear")[1]
    folder = results / "runs" / run["id"]
    (folder / "result.json").unlink()
    (folder / "failure.json").write_text('{"reason": "disk full", "log": "x"}')
    words = text(build(results))
    assert "4 of 5 (1 failed)" in words
    assert f"(run {run['id']}): disk full." in words


def test_one_seed_has_no_interval_and_an_inconclusive_verdict(results):
    runs = [run for run in RUNS if run["seed"] == 0]
    table = build(results, runs)
    found = row(table, "smartfrz")
    assert math.isnan(found["difference_low"])
    assert found["verdict"] == "inconclusive"
    assert math.isnan(found["accuracy_sd"])
    assert re.search(r"\| smartfrz \| 1 of 1 \| [\d.]+ \|", text(table))


def test_times_of_two_devices_are_not_compared(results):
    runs = runs_of("linear")
    write_run(results, runs[0], device="another made-up CPU")
    table = build(results)
    found = row(table, "linear")
    assert found["time_s"] is None
    assert math.isnan(found["time_saved"])
    assert found["time_mark"] == found["time_saved_mark"] == " §"
    assert "– §" in text(table)
    for run in runs:  # all on the other device: a mean time, but no time saved
        write_run(results, run, device="another made-up CPU")
    table = build(results)
    assert row(table, "linear")["time_s"] is not None
    assert math.isnan(row(table, "linear")["time_saved"])
    assert "§ runs used different devices" in text(table)
    assert "another made-up CPU, 1 thread" in text(table)


def test_resumed_run_marks_its_time(results):
    write_run(results, runs_of("full")[2], resumed=True)
    table = build(results)
    words = text(table)
    assert "‡ a run was interrupted" in words
    assert row(table, "smartfrz")["time_saved_mark"] == " ‡"  # full training was resumed
    assert row(table, "smartfrz", dataset="symbols100 (for cifar100)")["time_saved_mark"] == ""
    assert {r["time_saved_mark"] for r in table.pooled.rows} == {" ‡"}
    assert re.search(r"\| full \| 5 of 5 \| [\d.]+ ± [\d.]+ \| [\d.]+ ± [\d.]+ ‡", words)


def test_without_full_training_there_is_no_comparison(results):
    runs = [run for run in RUNS if run["method"] != "full"]
    found = row(build(results, runs), "smartfrz")
    assert found["verdict"] is None
    assert math.isnan(found["flops_saved"])
    assert found["seeds"] == "5 of 5"


def test_pooling_counts_each_pair_once(results):
    for pair, (model, dataset) in enumerate(
        (m, d) for m in ("resnet50", "vgg11") for d in DATASETS
    ):
        for run in runs_of("full", model, dataset):
            write_run(results, run, accuracy=80.0 + run["seed"])
        for run in runs_of("autofreeze", model, dataset):
            write_run(results, run, accuracy=80.0 + run["seed"] - 0.1 * pair)
    pooled = {r["method"]: r for r in build(results).pooled.rows}["autofreeze"]
    # means 0, −0.1, −0.2, −0.3: mean −0.15, sd √(0.05/3), t₃ 3.1824
    half = 3.1824463 * math.sqrt(0.05 / 3 / 4)
    assert pooled["difference"] == pytest.approx(-0.15)
    assert pooled["difference_low"] == pytest.approx(-0.15 - half)
    assert pooled["verdict"] == "non-inferior"
    assert pooled["pairs"] == "4 of 4"


def test_speed_up_is_claimed_only_if_non_inferior_and_faster(results):
    claims = {n.split(",")[0]: n for n in build(results).pooled.notes if "pairs:" in n}
    assert "Speed-up claimed: " in claims["smartfrz"]
    for method in ("linear", "autofreeze"):
        pooled = {r["method"]: r for r in build(results).pooled.rows}[method]
        claimed = "Speed-up claimed: " in claims[method]
        assert claimed == (pooled["verdict"] == "non-inferior" and pooled["p_no_worse"] < 0.025)
    for run in RUNS:  # non-inferior, but slower
        if run["method"] == "smartfrz":
            slower = make_result(run)["clocks"] | {"train": 60.0}
            write_run(results, run, clocks=slower, cpu=slower)
    claims = {n.split(",")[0]: n for n in build(results).pooled.notes if "pairs:" in n}
    assert "No speed-up claimed, because it takes more time." in claims["smartfrz"]
    headline = write_headline(build(results).pools, {})
    assert "but takes more time than full training." in headline


def test_no_speed_up_is_claimed_from_incomplete_pairs_or_seeds(results):
    def claim():
        notes = build(results).pooled.notes
        return next(n for n in notes if n.startswith("smartfrz, "))

    assert "Speed-up claimed: 3" in claim()
    for run in runs_of("smartfrz", "vgg11", "cifar10"):
        write_run(results, run, device="another made-up CPU")
    assert "claimed, because only 3 of 4 pairs have comparable times." in claim()
    for run in runs_of("smartfrz", "vgg11", "cifar10"):
        write_run(results, run)
    lost = results / "runs" / runs_of("smartfrz", "vgg11", "cifar10")[0]["id"]
    shutil.rmtree(lost)
    words = (
        "4 of 4 pairs, 19 of 20 runs: inconclusive. No speed-up claimed. Runs of it or of full "
        "training without a result: 1."
    )
    assert words in claim()
    lost.mkdir()
    (lost / "failure.json").write_text('{"reason": "out of memory"}')
    assert words in claim()


def test_times_of_a_shared_cpu_are_marked_in_every_table(results):
    for run in RUNS:
        if run["method"] == "linear":
            clocks = make_result(run)["clocks"]
            write_run(results, run, cpu={key: value / 2 for key, value in clocks.items()})
    built = build(results)
    assert row(built, "linear")["time_saved_mark"] == " ¶"
    (found,) = (r for r in built.pooled.rows if r["method"] == "linear")
    assert found["time_saved_mark"] == " ¶"
    for table in (built.results, built.against, built.costs, built.pooled):
        lines = [line for line in format_markdown(table).splitlines() if "| linear |" in line]
        assert lines
        assert all("¶" in line for line in lines)
    for table in (built.compact, built.compact_pooled):
        printed = format_text(table).splitlines()
        lines = [line for line in printed if line.startswith(" linear ")]
        assert lines
        assert all(line.count("¶") >= 2 for line in lines)


@pytest.mark.parametrize(("share", "slowed"), [(1.0, True), (1.95, False), (0.5, True)])
def test_slowed_accounts_for_the_number_of_threads(results, share, slowed):
    (run, *_) = runs_of("smartfrz")
    clocks = make_result(run)["clocks"]
    write_run(results, run, threads=2, cpu={key: share * value for key, value in clocks.items()})
    assert bool(read_runs(RUNS, results).set_index("id").slowed[run["id"]]) == slowed


def test_holm_correction_counts_the_strategies_of_the_table(results):
    few = {r["method"]: r for r in build(results).pooled.rows}
    runs = [run for run in RUNS if run["method"] in ("full", "smartfrz")]
    alone = build(results, runs).pooled.rows[0]
    assert few["smartfrz"]["p_no_worse"] >= alone["p_no_worse"]


def test_notes_name_profile_devices_predictor_and_statistics(results):
    words = text(build(results))
    for name in (
        "laptop profile", "laptop_resnet for resnet50", "digits10 for cifar10",
        "a made-up CPU, 1 thread", "Predictor: made up", "sample standard deviation",
        "conditional on one backbone and one predictor", "−0.5",
    ):  # fmt: skip
        assert name in words


def test_runs_may_use_the_papers_names_or_the_stand_ins(results):
    used = {**PROFILE["stands_for"]}
    runs = [{**r, "model": used[r["model"]], "dataset": used[r["dataset"]]} for r in RUNS]
    assert text(build(results, runs)) == text(build(results))


def test_profile_without_stand_ins_lists_none(results):
    words = text(build(results, profile={"name": "paper", "stands_for": {"vgg11": "vgg11"}}))
    assert "Profile: paper." in words
    assert "Stand-ins" not in words
    assert "(for" not in words


def test_user_strategy_appears_with_its_name_escaped(tmp_path):
    runs = list_runs(["vgg11"], ["cifar10"], ["full", "early_half|x"])
    for run in runs:
        write_run(tmp_path, run)
    table = build(tmp_path, runs)
    assert "early_half\\|x" in text(table)
    assert any("early\\_half$|$x" in format_latex(part, "l") for part in table.parts)


def test_csv_has_unrounded_numbers_and_terminal_text_fits(results):
    table = build(results)
    rows = list(csv.DictReader(io.StringIO(format_csv(table.results))))
    assert len(rows) == len(METHODS) * 4
    assert float(rows[0]["accuracy"]) == table.results.rows[0]["accuracy"]
    lines = format_text(table.compact).splitlines()
    assert max(map(len, lines)) <= 120
    assert not any("…" in line for line in lines)


def test_replayed_time_needs_the_device_of_the_run(results):
    assert row(build(results), "smartfrz")["replayed_saved"] is None

    def replay(ratios, device):
        for run, ratio in zip(runs_of("smartfrz"), ratios, strict=False):
            record = {"device": device, "time_ratio": {"median": ratio}}
            (results / "runs" / run["id"] / "retime.json").write_text(json.dumps(record))

    replay((0.6, 0.7), "a made-up CPU")
    table = build(results)
    assert row(table, "smartfrz")["replayed_saved"] == pytest.approx(0.35)
    assert row(table, "smartfrz")["replayed_runs"] == 2
    assert row(table, "full")["replayed_saved"] is None
    [column] = [c for c in table.against.columns if c.head == "Replayed (%)"]
    assert column.text(row(table, "smartfrz")) == "35.0 (2 of 5)"
    assert column.text(row(table, "linear")) == "–"
    replay((0.1, 0.1), "another device")  # times of different devices are not compared
    assert row(build(results), "smartfrz")["replayed_saved"] is None
    replay((0.5, 0.6, 0.7, 0.8, 0.9), "a made-up CPU")
    assert column.text(row(build(results), "smartfrz")) == "30.0"
    shutil.rmtree(results / "runs" / runs_of("smartfrz")[0]["id"])  # all finished runs remain
    assert column.text(row(build(results), "smartfrz")) == "25.0"
