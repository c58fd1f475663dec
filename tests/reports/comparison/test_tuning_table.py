"""Tests of the table of a search: the unit follows the metric."""

import math
import tomllib

import pytest

from bench.errors import UserError
from bench.spec import Spec
from reports.comparison.tuning_table import TuningRow, build_tuning_table, format_profile_lines


@pytest.mark.parametrize(
    ("metric", "score", "head", "words"),
    [
        ("accuracy", 81.25, "validation score (%)", "tune: 81.2 % on"),
        ("loss", -450.04, "validation score", "tune: -450.0 on"),
    ],
)
def test_a_loss_is_not_called_a_percentage(metric, score, head, words):
    spec = Spec(model="laptop_resnet", data="digits10", resolution=24, lr=0.1, strategy="full")
    rows = [TuningRow(spec, score, math.nan, "1 of 1", metric)]
    assert head in [column.head for column in build_tuning_table(rows, "").columns]
    assert words in format_profile_lines(rows, "resnet50/cifar10", "full")


def test_diverged_settings_are_shown_and_the_error_says_what_to_change():
    spec = Spec(model="laptop_resnet", data="digits10", resolution=24, lr=0.1, strategy="full")
    other = spec.with_changes(strategy="prefix")
    rows = [
        TuningRow(spec, math.nan, math.nan, "1 of 1 diverged"),
        TuningRow(other, 80.0, 1.0, "1 of 1"),
    ]
    marks = [row["mark"] for row in build_tuning_table(rows, "").rows]
    assert marks == ["", "best"]
    with pytest.raises(UserError, match=r"no combination of full has a score .* lower values"):
        format_profile_lines(rows, "resnet50/cifar10", "full")


def test_searched_values_are_printed_exactly():
    spec = Spec(
        model="laptop_resnet", data="digits10", lr=0.1234567, warmup=1 / 3, weight_decay=1.5e-9
    )
    rows = [
        TuningRow(spec.with_changes(lr=lr), score, 1.0, "1 of 1", "accuracy")
        for lr, score in ((0.1234567, 80.0), (0.1234568, 81.0))
    ]
    table = build_tuning_table(rows, "")
    assert [table.columns[0].text(row) for row in table.rows] == ["0.1234567", "0.1234568"]
    assert "the best lr (0.1234568) is at the end" in table.notes[1]
    pasted = tomllib.loads(format_profile_lines(rows, "resnet50/cifar10", "full"))
    values = {"lr": 0.1234568, "warmup": 1 / 3, "weight_decay": 1.5e-9}
    assert pasted["pairs"]["resnet50/cifar10"] == values
    pasted = tomllib.loads(format_profile_lines(rows, "resnet50/cifar10", "full", "scratch"))
    assert pasted == {"settings": {"scratch": {"pairs": {"resnet50/cifar10": values}}}}
