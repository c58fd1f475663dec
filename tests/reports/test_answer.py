"""The page's first sentence: what is claimed, and on how many of the runs."""

import shutil

import pytest
from synthetic import PROFILE, wanted, write

from reports.caption import Profile
from reports.frame import Reader
from reports.page.answer import answer
from reports.page.dossier import Dossiers
from reports.write import build

RUNS = wanted(seeds=2)


@pytest.fixture
def results(tmp_path):
    for run in RUNS:
        write(tmp_path, run)
    return tmp_path


def headline(results):
    return answer(Reader(results).runs(RUNS)).headline


def test_a_claim_made_on_some_of_the_runs_says_so(results):
    whole = headline(results)
    assert "So far" not in whole
    shutil.rmtree(results / "runs" / RUNS[0]["id"])
    assert headline(results).startswith(f"So far, with {len(RUNS) - 1} of {len(RUNS)} runs: ")
    shutil.rmtree(results / "runs")
    assert headline(results) == "No runs yet: nothing can be said."


def test_runs_of_several_devices_have_no_mean_time(results):
    write(results, RUNS[0], device="another CPU")
    report = build("table2", RUNS, Reader(results), PROFILE)
    first, second, *_ = Dossiers(report, Profile.of(PROFILE)).all
    assert dict(first.facts)["Time"] == "of several devices: no mean"
    assert "over 2 of 2" in dict(second.facts)["Time"]
