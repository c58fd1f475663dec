"""Tests of the paper's numbers and of the numbers derived from them."""

import math

import pytest

from reports.paper import derived_numbers
from reports.paper.printed_tables import find_entry, get_number, read_entries


def test_every_table_has_all_its_rows():
    assert [len(read_entries(table)) for table in range(1, 10)] == [4, 32, 8, 8, 8, 8, 4, 4, 4]


def test_entries_are_found_by_name():
    row = find_entry(2, model="deit_tiny", dataset="cifar100", method="smartfrz")
    assert (row["accuracy"], row["accuracy_pm"], row["time_s"], row["tflops"]) == (
        84.82, 0.25, 9599, 16636,
    )  # fmt: skip
    assert find_entry(2, model="deit_tiny") == {}  # several rows match
    assert find_entry(2, model="alexnet") == {}
    assert get_number({}, "accuracy") is None


def test_printed_flops_of_full_training_agree_with_our_count():
    recounted = {"resnet50": 12334, "vgg11": 22827, "mobilenet_v2": 943, "deit_tiny": 32387}
    for model, tflops in recounted.items():
        row = find_entry(2, model=model, dataset="cifar10", method="full")
        assert row["tflops"] == pytest.approx(tflops, rel=0.02)


def test_realised_ratios_of_the_paper():
    shares = {m: derived_numbers.compute_means(2, m) for m in ("smartfrz", "linear", "autofreeze")}
    rounded = {m: round(float(s["published_realised"]), 2) for m, s in shares.items()}
    # Ratio of the mean shares, as for our runs. AutoFreeze's mean of ratios would be 0.49.
    assert all(
        s["published_realised"] == s["published_time_saved"] / s["published_flops_saved"]
        for s in shares.values()
    )
    assert rounded == {"smartfrz": 0.70, "linear": 0.70, "autofreeze": 0.52}


def test_look_up_row_derives_differences_and_savings():
    row = derived_numbers.look_up_row(2, "resnet50", "cifar10", "linear")
    assert row["published_difference"] == pytest.approx(-0.05)
    assert row["published_flops_saved"] == pytest.approx(1 - 8247 / 12360)
    assert row["published_time_saved"] == pytest.approx(1 - 1980 / 2594)
    full = derived_numbers.look_up_row(2, "resnet50", "cifar10", "full")
    assert full["published_accuracy"] == 96.10
    assert full["published_difference"] is None
    minutes = derived_numbers.look_up_row(7, "deit_tiny", "imagenet", "full")
    assert minutes["published_time_s"] == 2190 * 60
    unknown = derived_numbers.look_up_row(2, "alexnet", "cifar10", "linear")
    assert all(value is None or math.isnan(value) for value in unknown.values())
    assert math.isnan(derived_numbers.compute_means(2, "probe")["published_realised"])
