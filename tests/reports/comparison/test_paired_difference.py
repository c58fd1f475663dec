"""Tests of differences that are paired by seed and by evaluation sample."""

import dataclasses

import numpy as np
import pytest

from bench.errors import UserError
from bench.results.evaluation_file import SampleOutcomes, read_evaluation, write_evaluation
from reports.comparison.paired_difference import compare_accuracy
from reports.runs import run_table
from reports.runs.cells import build_cells
from reports.statistics import compute_t_interval
from tests.support.synthetic_results import list_runs, make_result, write_run

RUNS = list_runs(["vgg11"], ["cifar10"], ["full", "linear"], seeds=4)
DIGITS, EACH = 30, 4  # digits per fold, images of each digit


@pytest.fixture
def results(tmp_path):
    for run in RUNS:
        write_run(tmp_path, run)
    return tmp_path


def put(results, run, correct, sources=None, fold=0):
    """Write a run with these outcomes, and with the accuracy that follows from them."""
    folder = write_run(results, run, accuracy=100 * float(np.mean(correct)))
    write_evaluation(folder, SampleOutcomes(np.asarray(correct), None, sources, fold))


def compare(results, runs=RUNS):
    full, linear = build_cells(run_table.read_runs(runs, results))
    return compare_accuracy(linear, full)


def test_differences_use_the_seeds_that_both_cells_have(results):
    gone = [{**run, "id": "gone"} if run is RUNS[-1] else run for run in RUNS]
    found = compare(results, gone)
    expected = {
        seed: make_result(RUNS[4 + seed])["accuracy"] - make_result(RUNS[seed])["accuracy"]
        for seed in range(3)
    }
    assert found.by_seed == pytest.approx(expected)
    assert found.n == found.interval.n == 3
    nothing = compare(results, [{**run, "id": "gone"} for run in RUNS])
    assert nothing.n == 0
    assert np.isnan(nothing.mean)
    assert np.isnan(nothing.interval.low)


def test_interval_covers_the_draw_of_the_digits(results):
    """Let linear fail on the same digits in every seed, so that only the draw of digits varies."""
    sources = np.repeat(np.arange(DIGITS), EACH)[:, None]
    lost = sources[:, 0] < 3
    for run in RUNS:
        put(results, run, ~lost if run["method"] == "linear" else np.ones(len(lost), bool), sources)
    found = compare(results)
    assert set(found.by_seed.values()) == {-10.0}
    plain = compute_t_interval(list(found.by_seed.values()))
    assert plain.low == plain.high == found.interval.mean
    assert found.errors == pytest.approx((0, 100 * np.sqrt(0.1 * 0.9 / 29)))
    # 3 of 30 digits are lost: the variance of a mean of 30 digits with share 0.1.
    error = 100 * np.sqrt(0.1 * 0.9 / 29)
    assert found.interval.df == pytest.approx(29)
    assert found.interval.high == pytest.approx(-10 + 2.04523 * error, rel=1e-4)
    for run in RUNS:  # images taken as independent would give half of that
        outcomes = read_evaluation(results / "runs" / run["id"])
        write_evaluation(results / "runs" / run["id"], dataclasses.replace(outcomes, sources=None))
    independent = compare(results).interval
    assert independent.high - independent.mean == pytest.approx(
        (found.interval.high - found.interval.mean) / 2, rel=0.05
    )


def test_runs_evaluated_on_different_samples_are_refused(results):
    put(results, RUNS[0], [True, False, True, True])
    with pytest.raises(UserError, match=f"{RUNS[4]['id']} and {RUNS[0]['id']} were evaluated on"):
        compare(results)


def test_a_missing_file_of_outcomes_is_named(results):
    (results / "runs" / RUNS[5]["id"] / "evaluation.npz").unlink()
    with pytest.raises(UserError, match=f"{RUNS[5]['id']}/evaluation.npz does not exist") as error:
        compare(results)
    assert "\n" not in str(error.value)


def test_outcomes_of_another_result_are_refused(results):
    folder = results / "runs" / RUNS[5]["id"]
    found = read_evaluation(folder)
    write_evaluation(folder, dataclasses.replace(found, correct=~found.correct))
    with pytest.raises(UserError, match=r"gives a score of .*, but result\.json says"):
        compare(results)
