"""Tests of the report of a user's own sweep: the heading and the unit follow the metric."""

import numpy as np
import pytest

from bench.results.evaluation_file import SampleOutcomes, write_evaluation
from reports.document import captions
from reports.document.profile import Profile
from reports.page.run_details import DetailsByRow
from reports.runs.run_table import read_runs
from reports.tables.user_sweep import build_report
from tests.support.synthetic_results import PROFILE, list_runs, write_run

RUNS = list_runs(["vgg11"], ["cifar10"], ["full", "linear"], seeds=2)
HERE = Profile.of(PROFILE)


def write_losses(results, runs):
    """Write runs that are scored by −100 × a loss of about 4.5 nats."""
    for run in runs:
        score = -450.0 - run["seed"] - 2 * (run["method"] == "linear")
        folder = write_run(results, run, metric="loss", accuracy=score)
        losses = np.full(100, -score / 100, np.float32)
        write_evaluation(folder, SampleOutcomes(losses > 9, None, None, run["seed"], losses))


def test_a_loss_is_not_called_a_percentage(tmp_path):
    write_losses(tmp_path, RUNS)
    report = build_report("mine", "Mine", read_runs(RUNS, tmp_path), HERE)
    for part in (report.parts[0], report.compact[0]):
        assert "score" in [column.head.lower() for column in part.columns]
        assert any("−100 × the loss in nats per word" in note for note in part.notes)
    first = DetailsByRow(report, HERE).all[0]
    assert first.score == "Score"
    assert dict(first.facts)["Score"] == "−450.50 ± 0.71"


def test_details_name_the_score_of_their_own_runs(tmp_path):
    texts = list_runs(["vgg11"], ["cifar100"], ["full", "linear"], seeds=2)
    write_losses(tmp_path, texts)
    for run in RUNS:
        write_run(tmp_path, run)
    report = build_report("mine", "Mine", read_runs([*RUNS, *texts], tmp_path), HERE)
    assert report.parts[0].columns[2].head == "Score"
    details = DetailsByRow(report, HERE).all
    assert [cell.score for cell in details] == ["Accuracy (%)"] * 2 + ["Score"] * 2
    assert dict(details[0].facts)["Accuracy"].endswith(" %")


@pytest.mark.parametrize(
    ("metrics", "heading"),
    [
        ({"accuracy", ""}, "Accuracy (%)"),
        ({"matthews", "accuracy"}, "Score (%)"),
        ({"loss", "accuracy"}, "Score"),
    ],
)
def test_heading_of_scores(metrics, heading):
    assert captions.name_score(metrics) == heading
    assert bool(captions.describe_score(metrics)) == (heading != "Accuracy (%)")
