"""Tests of the comparison of methods with matched baselines of the same cost."""

import math

import pytest

from bench.planning.sweep import load_sweep
from reports.comparison.equal_cost_table import ALL, build_equal_cost
from reports.document.profile import Profile
from reports.publishing.from_sweep import list_shown_runs
from reports.runs import run_table
from reports.runs.cells import build_cells
from tests.support.synthetic_results import PROFILE, list_runs, write_run

MODELS = ("resnet50", "vgg11", "mobilenet_v2")
RUNS = [
    {**run, "match": "smartfrz" if run["method"] == "linear" else ""}
    for run in list_runs(models=MODELS, datasets=["cifar10"], methods=["smartfrz", "linear"])
]
# Accuracy of smartfrz minus that of linear, by seed.
GAPS = {"resnet50": [1.0, 1.0, 1.0, 1.0, 2.0], "vgg11": [0.4] * 5, "mobilenet_v2": [0.5] * 5}


@pytest.fixture
def results(tmp_path):
    for run in RUNS:
        gap = GAPS[run["model"]][run["seed"]] if run["method"] == "smartfrz" else 0.0
        write_run(tmp_path, run, accuracy=90.0 + run["seed"] + gap)
    return tmp_path


def rows(results, runs=RUNS):
    full, compact = build_equal_cost(
        build_cells(run_table.read_runs(runs, results)), Profile.of(PROFILE), "title"
    )
    assert compact.rows == [row for row in full.rows if row["model"] == ALL]
    return {row["model"].split()[0]: row for row in full.rows}


def test_differences_and_outcomes_equal_manual_values(results):
    found = rows(results)
    resnet = found["laptop_resnet"]
    # 1, 1, 1, 1, 2: mean 1.2, sd √0.2, t₄ 2.776
    half = 2.7764451 * math.sqrt(0.2 / 5)
    assert resnet["difference"] == pytest.approx(1.2)
    assert resnet["difference_low"] == pytest.approx(1.2 - half)
    assert (resnet["method"], resnet["rival"], resnet["outcome"]) == (
        "smartfrz",
        "linear",
        "better",
    )
    pooled = found["all"]
    # Means 1.2, 0.4 and 0.5: mean 0.7, sd √0.19, t₂ 4.303; the interval contains 0.
    assert pooled["difference_high"] == pytest.approx(0.7 + 4.30265 * math.sqrt(0.19 / 3), rel=1e-4)
    assert pooled["compared"] == "3 of 3 pairs"
    assert pooled["outcome"] == "not significant"
    assert 0.9 < pooled["cost_ratio"] < 1.1


def test_baseline_may_be_better_and_a_diverged_seed_prevents_a_test(results):
    for run in RUNS:
        if run["method"] == "linear":
            write_run(results, run, accuracy=95.0 + run["seed"])
    found = rows(results)
    assert {found[name]["outcome"] for name in ("laptop_resnet", "laptop_vgg11")} == {"worse"}
    assert found["all"]["outcome"] == "worse"
    write_run(results, RUNS[0], status="diverged", accuracy=None)
    assert {rows(results)[name]["outcome"] for name in ("all", "laptop_resnet")} == {"not tested"}


def test_missing_runs_are_counted_and_not_compared(results, tmp_path_factory):
    half = rows(results, [{**run, "id": f"{run['id']}{'x' * (run['seed'] > 2)}"} for run in RUNS])
    assert half["laptop_resnet"]["compared"] == "3 of 5 seeds"
    nothing = rows(tmp_path_factory.mktemp("empty"))
    assert nothing["all"]["compared"] == "0 of 3 pairs"
    assert nothing["all"]["outcome"] == "not tested"


def test_missing_pair_prevents_a_test_over_all_pairs(results):
    found = rows(results, [{**run, "id": "gone"} if run["model"] == "vgg11" else run
                           for run in RUNS])  # fmt: skip
    assert found["all"]["compared"] == "2 of 3 pairs"
    assert found["all"]["outcome"] == "not tested"


def tables(results, runs):
    return build_equal_cost(
        build_cells(run_table.read_runs(runs, results)), Profile.of(PROFILE), "title"
    )


def test_two_pairs_or_several_metrics_are_not_pooled(results):
    two = [run for run in RUNS if run["model"] != "vgg11"]
    full, short = tables(results, two)
    assert [row["model"] for row in full.rows] == [row["model"] for row in short.rows]
    assert ALL not in {row["model"] for row in full.rows}
    assert ALL in {row["model"] for row in tables(results, RUNS)[0].rows}
    for run in RUNS:
        if run["model"] == "vgg11":
            write_run(results, run, metric="matthews")
    assert ALL not in {row["model"] for row in tables(results, RUNS)[0].rows}


def test_no_table_without_matched_methods(results):
    alone = [{**run, "match": ""} for run in RUNS]
    assert build_equal_cost(
        build_cells(run_table.read_runs(alone, results)), Profile.of(PROFILE), "t"
    ) == (
        None,
        None,
    )


def test_shown_runs_name_the_method_they_are_matched_to():
    found = {run["method"]: run["match"] for run in list_shown_runs(load_sweep("table2", "laptop"))}
    assert {method for method, match in found.items() if match == "smartfrz"} == {
        "linear",
        "prefix",
        "at_once",
        "shortened",
    }
    assert {method for method, match in found.items() if not match} == {
        "full",
        "autofreeze",
        "smartfrz",
    }
