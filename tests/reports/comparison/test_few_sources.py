"""A table says when the test samples of a data set come from few sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.results.evaluation_file import SampleOutcomes, write_evaluation
from reports.publishing.build import build_report
from reports.runs.run_table import Reader
from tests.support.synthetic_results import PROFILE, list_runs, write_run


@pytest.mark.parametrize(("sources", "told"), [(2, True), (50, False)])
def test_two_fonts_of_all_seeds_are_few_sources(sources: int, told: bool, tmp_path: Path) -> None:
    runs = list_runs(["resnet50"], ["cifar10"], ["full", "autofreeze"], seeds=3)
    for run in runs:
        folder = write_run(tmp_path, run, accuracy=90.0)
        correct = np.arange(1000) % 10 > 0
        outcome = SampleOutcomes(correct, None, (np.arange(1000) % sources)[:, None], 0)
        write_evaluation(folder, outcome)
    report = build_report("table2", runs, Reader(tmp_path), PROFILE)
    notes = [note for part in report.parts for note in part.notes]
    assert any("fonts (digits10 (for cifar10): 2)" in note for note in notes) == told
