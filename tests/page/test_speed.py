"""The page of ten thousand results is made in seconds. Outside the timed suite: it writes them."""

from __future__ import annotations

import time

from reports.document.profile import Profile
from reports.page.page import page
from reports.publishing.build import build
from reports.runs.run_table import Reader
from tests.support.synthetic_results import PROFILE, wanted, write

SECONDS = 10


def test_ten_thousand_results(tmp_path):
    runs = wanted(seeds=313)
    assert len(runs) > 10_000
    for run in runs:
        write(tmp_path, run)
    begun = time.process_time()  # what others do on this machine does not count
    report = build("table2", runs, Reader(tmp_path), PROFILE)
    text = page([(report, Profile.of(PROFILE))])
    assert time.process_time() - begun < SECONDS
    assert all(run["id"] in text for run in runs[::100])
    assert len(text) < 20e6
