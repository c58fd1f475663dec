"""A table says when the test samples of a data set come from few sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.results.evaluation_file import SampleOutcomes, write_evaluation
from reports.document.report import Report
from reports.publishing.build import build_report
from reports.runs.run_table import Reader
from tests.support.synthetic_results import PROFILE, list_runs, write_run


def report_on_sources(sources: int, results: Path) -> Report:
    """Return the report on runs whose 1,000 test samples come from this many sources."""
    runs = list_runs(["resnet50"], ["cifar10"], ["full", "autofreeze"], seeds=3)
    for run in runs:
        folder = write_run(results, run, accuracy=90.0)
        correct = np.arange(1000) % 10 > 0
        outcome = SampleOutcomes(correct, None, (np.arange(1000) % sources)[:, None], 0)
        write_evaluation(folder, outcome)
    return build_report("table2", runs, Reader(results), PROFILE)


def list_notes(report: Report) -> list[str]:
    return [note for part in report.parts for note in part.notes]


@pytest.mark.parametrize(("sources", "told"), [(2, True), (50, False)])
def test_two_fonts_of_all_seeds_are_few_sources(sources: int, told: bool, tmp_path: Path) -> None:
    notes = list_notes(report_on_sources(sources, tmp_path))
    assert any("fonts (digits10 (for cifar10): 2)" in note for note in notes) == told
    assert not any("One source" in note for note in notes)


def test_a_single_source_gives_no_interval_and_the_note_says_so(tmp_path: Path) -> None:
    report = report_on_sources(1, tmp_path)
    notes = list_notes(report)
    assert any("samples of a run on digits10 (for cifar10) come from one" in note for note in notes)
    assert not any("very wide" in note for note in notes)
    against = report.parts[1]
    [column] = [column for column in against.columns if column.key == "difference"]
    assert [column.text(row) for row in against.rows] == ["0.00"]


def test_a_negative_variance_of_two_sources_is_not_called_a_single_source(tmp_path: Path) -> None:
    """Let the samples of both fonts differ in the same direction from those that show both."""
    runs = list_runs(["resnet50"], ["cifar10"], ["full", "autofreeze"], seeds=3)
    fonts = np.array([(0, 0)] * 100 + [(1, 1)] * 100 + [(0, 1)] * 800)
    for run in runs:
        folder = write_run(tmp_path, run, accuracy=90.0)
        right = np.arange(1000) % 10 > 0
        if run["method"] == "autofreeze":  # 20 correct images more of one font, 20 less of both
            right[:200] = True
            right[200:] = np.arange(800) % 80 >= 10
        write_evaluation(folder, SampleOutcomes(right, None, fonts, 0))
    report = build_report("table2", runs, Reader(tmp_path), PROFILE)
    notes = list_notes(report)
    assert any(note.startswith("Unknown variance: on digits10 (for cifar10),") for note in notes)
    assert not any("One source" in note for note in notes)
