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


def test_a_paper_model_under_its_librarys_name_is_no_stand_in() -> None:
    paper = Profile.of(describe_profile(load_sweep("table2", "paper", seeds=1)))
    assert paper.stands_for["deit_tiny"] == "deit_tiny_patch16_224"
    assert "Stand-ins" not in paper.sentence
    assert paper.format_name("deit_tiny_patch16_224") == "deit_tiny"
    laptop = Profile.of(describe_profile(load_sweep("table2", "laptop", seeds=1)))
    assert laptop.format_name("laptop_deit") == "laptop_deit (for deit_tiny)"
