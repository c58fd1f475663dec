"""Tests of differences in points as text: rounding never contradicts a verdict."""

import math

import pytest

from reports.document.difference_column import difference_column, format_ends
from reports.statistics import Interval, judge_difference


@pytest.mark.parametrize(
    ("low", "high", "verdict", "shown"),
    [
        (-0.4987, 0.3, "non-inferior", "[−0.499, +0.30]"),
        (-0.49996, 0.3, "non-inferior", "[−0.5000, +0.30]"),  # at most four digits
        (-0.5, 0.3, "inconclusive", "[−0.50, +0.30]"),
        (-0.5013, 0.3, "inconclusive", "[−0.50, +0.30]"),
        (-2.0, -0.5013, "inferior", "[−2.00, −0.501]"),
        (-2.0, -0.0042, "worse, margin open", "[−2.00, −0.004]"),
        (-2.0, 0.0042, "inconclusive", "[−2.00, 0.00]"),
        (0.0042, 1.0, "non-inferior", "[+0.004, +1.00]"),
        (math.nan, math.nan, "inconclusive", "[–, –]"),
    ],
)
def test_an_end_that_decides_is_not_rounded_onto_its_threshold(low, high, verdict, shown):
    assert judge_difference(Interval((low + high) / 2, low, high, 5)) == verdict
    assert format_ends(low, high) == shown


def test_a_column_shows_the_ends_and_a_mark():
    row = {"d": -0.2, "d_low": -0.7, "d_high": 0.3, "count": 3}
    assert difference_column("", "d").text(row) == "−0.20 [−0.70, +0.30]"
    marked = difference_column("", "d", lambda row: f" ({row['count']})")
    assert marked.text({**row, "d_low": math.nan}) == "−0.20 (3)"
    assert difference_column("", "d").text(dict.fromkeys(row)) == "–"
