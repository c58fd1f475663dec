"""Tests of the table of methods pooled over the pairs."""

from reports.document.profile import Profile
from reports.runs import run_table
from reports.statistics import Interval, judge_difference
from reports.tables.table2 import build_table2
from tests.support.synthetic_results import MODELS, PROFILE, list_runs, write_run


def test_the_terminal_shows_the_interval_that_the_verdict_rests_on(tmp_path):
    """The loss varies by model, so the interval over the models is the wider one."""
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
