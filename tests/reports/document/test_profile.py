"""Tests of the sentence that names a report's profile."""

from bench.planning.sweep import load_sweep
from reports.document.profile import Profile
from reports.publishing.from_sweep import describe_profile


def test_reports_of_the_laptop_profile_say_how_its_data_were_chosen() -> None:
    sentence, papers = (
        Profile.of(describe_profile(load_sweep("table2", name, seeds=1))).sentence
        for name in ("laptop", "paper")
    )
    assert "chosen, on validation data, so that freezing can save something" in sentence
    assert "chosen" not in papers
