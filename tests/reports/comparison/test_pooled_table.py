"""Tests of the table of methods pooled over the pairs."""

import math
from dataclasses import replace

import pytest

from reports.comparison.method_rows import describe_claims
from reports.document.profile import Profile
from reports.runs import run_table
from reports.statistics import Interval, judge_difference
from reports.tables.table2 import build_table2
from tests.support.synthetic_results import MODELS, PROFILE, list_runs, write_run


def test_the_terminal_shows_the_interval_that_the_verdict_rests_on(tmp_path):
    """Vary the loss by model, so that the interval over the models is the wider one."""
    runs = list_runs(methods=("full", "linear"), seeds=3)
    for run in runs:
        lost = 0.3 + 0.7 * MODELS.index(run["model"]) if run["method"] == "linear" else 0.0
        write_run(tmp_path, run, accuracy=90 - lost + run["seed"] / 10)
    built = build_table2(run_table.read_runs(runs, tmp_path), Profile.of(PROFILE))
    [row] = built.compact_pooled.rows
    assert row["by_model_low"] < row["difference_low"]
    assert row["difference_high"] < 0 < row["by_model_high"]

    [shown] = [c for c in built.compact_pooled.columns if c.head.startswith("difference")]
    low, high = row["widest_low"], row["widest_high"]
    assert shown.text(row).endswith(f"[−{-low:.2f}, +{high:.2f}]")
    assert row["verdict"] == judge_difference(Interval(row["widest"], low, high, len(MODELS)))


def test_holm_counts_methods_without_all_results(tmp_path):
    """Expect the same p value of a method whether or not all other methods have finished."""
    methods = ("full", "linear", "autofreeze", "smartfrz")
    runs = list_runs(methods=methods, seeds=3)
    for run in runs:
        lost = {"full": 0.0, "linear": 0.05 * MODELS.index(run["model"])}.get(run["method"], 1.0)
        write_run(tmp_path, run, accuracy=90 - lost + run["seed"] / 10)
    profile = Profile.of(PROFILE)
    whole = build_table2(run_table.read_runs(runs, tmp_path), profile).pools
    gone = [{**r, "id": "x"} if r["method"] in methods[2:] and not r["seed"] else r for r in runs]
    part = build_table2(run_table.read_runs(gone, tmp_path), profile).pools
    assert math.isnan(part["smartfrz"].p_no_worse)
    assert whole["linear"].p_no_worse == part["linear"].p_no_worse > 0


@pytest.mark.parametrize("p", [0.0249, 0.0254])
def test_the_sentence_on_a_method_shows_on_which_side_of_the_level_its_p_value_is(p, tmp_path):
    runs = list_runs(["vgg11"], methods=("full", "linear"), seeds=1)
    for run in runs:
        write_run(tmp_path, run)
    pools = build_table2(run_table.read_runs(runs, tmp_path), Profile.of(PROFILE)).pools
    pool = replace(pools["linear"], verdict="non-inferior", p_no_worse=p)
    [sentence] = describe_claims({"linear": pool})
    assert f"(Holm-adjusted p = {p})" in sentence
    assert ("not after Holm's correction" in sentence) == (p > 0.025)
