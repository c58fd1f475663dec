"""Test of the time to render a page of 10,000 results.

The test is not part of `make test`, because writing the results takes long.
"""

from __future__ import annotations

import time

from reports.document.profile import Profile
from reports.page.page import render_page
from reports.publishing.build import build_report
from reports.runs.run_table import Reader
from tests.support.synthetic_results import PROFILE, list_runs, write_run

SECONDS = 90  # three times what was measured: a cost per pair of runs takes far longer


def test_page_of_ten_thousand_results_is_rendered_in_seconds(tmp_path):
    runs = list_runs(seeds=313)
    assert len(runs) > 10_000
    for run in runs:
        write_run(tmp_path, run)
    begun = time.process_time()  # CPU time, which other processes do not lengthen
    report = build_report("table2", runs, Reader(tmp_path), PROFILE)
    text = render_page([(report, Profile.of(PROFILE))])
    assert time.process_time() - begun < SECONDS
    assert all(run["id"] in text for run in runs[::100])
    assert len(text) < 25e6  # 2 KB for each run, of which 1.2 KB are its decisions
