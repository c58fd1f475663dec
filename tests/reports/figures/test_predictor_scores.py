"""Tests of the figures of a predictor's scores: every run, bin and mean is drawn."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from reports.figures.predictor_scores import (
    JUDGES,
    LARGEST,
    SPLITS,
    draw_reliability,
    draw_split_scores,
)
from reports.figures.style import apply_style, save_figure
from reports.statistics import compute_t_interval

RUNS = 7


def scores(judges=tuple(JUDGES)):
    random = np.random.default_rng(0)
    rows = [
        {"split": split, "judge": judge, "run": f"run{i}", "family": "f", "task": "t",
         "auroc": random.uniform(0.4, 1), "precision": random.uniform(0.2, 1)}
        for split in SPLITS for judge in judges for i in range(RUNS)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def bins():
    rows = [
        {"split": split, "judge": judge, "p": p, "share": p**power, "n": 100 * (i + 1)}
        for split in ("family", "task")
        for power, judge in enumerate(JUDGES, start=1)
        for i, p in enumerate((0.05, 0.5, 0.95))
    ]
    return pd.DataFrame(rows)


def points(axes, size):
    """Return x, y and colour of all marks of a size."""
    return [
        (x, y, to_hex(line.get_color()).upper())
        for line in axes.lines
        if line.get_marker() not in ("None", None, "") and line.get_markersize() == size
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


@pytest.mark.parametrize(("panel", "key"), [(0, "auroc"), (1, "precision")])
def test_every_run_is_drawn_at_its_split_in_the_colour_of_its_judge(panel, key):
    frame = scores()
    axes = draw_split_scores(frame).axes[panel]
    drawn = points(axes, 2.6)
    assert len(drawn) == len(frame) == 4 * 4 * RUNS
    for (split, judge), here in frame.groupby(["split", "judge"]):
        place, colour = list(SPLITS).index(split), JUDGES[judge][0]
        found = [y for x, y, c in drawn if round(x) == place and c == colour]
        assert sorted(found) == sorted(here[key])
    low, high = axes.get_ylim()
    assert all(low < y < high for _, y, _ in drawn)


def test_means_and_their_intervals_are_drawn():
    frame = scores()
    axes = draw_split_scores(frame).axes[0]
    means = points(axes, 5.5)
    assert len(means) == 16
    ends = {
        round(float(line.get_xdata()[0]), 6): list(line.get_ydata())
        for line in axes.lines
        if len(line.get_xdata()) == 2 and line.get_linewidth() == 1.4
    }
    for (split, judge), here in frame.groupby(["split", "judge"]):
        expected = compute_t_interval(here.auroc.tolist())
        (place,) = [
            x for x, y, c in means if y == pytest.approx(expected.mean) and c == JUDGES[judge][0]
        ]
        assert round(place) == list(SPLITS).index(split)
        assert ends[round(place, 6)] == pytest.approx([expected.low, expected.high])


def test_judges_do_not_overlap():
    drawn = points(draw_split_scores(scores()).axes[0], 2.6)
    for place in range(4):
        reach = [
            [x for x, _, c in drawn if round(x) == place and c == colour]
            for colour, _ in JUDGES.values()
        ]
        for left, right in pairwise(reach):
            assert max(left) < min(right)


def test_runs_without_score_are_left_out_and_empty_columns_are_labelled():
    frame = scores()
    first = (frame.split == "run") & (frame.judge == "predictor")
    frame.loc[first, "auroc"] = math.nan
    frame.loc[(frame.split == "task") & (frame.run == "run0"), "auroc"] = math.nan
    left, right = draw_split_scores(frame).axes
    assert len(points(left, 2.6)) == 16 * RUNS - RUNS - 4
    assert [text.get_text() for text in left.texts] == ["no run"]
    assert not right.texts


def test_unknown_judges_get_their_own_looks():
    figure = draw_split_scores(scores(("mine", "predictor", "yours")))
    drawn = {c for _, _, c in points(figure.axes[0], 5.5)}
    assert len(drawn) == 3
    assert JUDGES["predictor"][0] in drawn
    assert "mine" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_reliability_diagram_shows_every_bin_with_its_weight():
    frame = bins()
    figure = draw_reliability(frame)
    assert [axes.get_title() for axes in figure.axes] == ["unseen family", "unseen task"]
    for axes, split in zip(figure.axes, ("family", "task"), strict=True):
        assert len(axes.collections) == len(JUDGES)
        for (judge, (colour, _)), marks in zip(JUDGES.items(), axes.collections, strict=True):
            here = frame[(frame.split == split) & (frame.judge == judge)]
            np.testing.assert_allclose(marks.get_offsets(), here[["p", "share"]])
            np.testing.assert_allclose(marks.get_sizes(), LARGEST * here.n / 300)
            assert to_hex(marks.get_facecolor()[0]).upper() == colour
        diagonal = [line for line in axes.lines if list(line.get_xdata()) == [0, 1]]
        assert [list(line.get_ydata()) for line in diagonal] == [[0, 1]]


def test_figures_of_one_run_and_of_no_run(tmp_path):
    frame = scores()
    with apply_style():
        save_figure(draw_split_scores(frame[frame.run == "run0"]), tmp_path / "a")
        save_figure(draw_split_scores(frame[:0]), tmp_path / "b")
        save_figure(draw_reliability(bins()[:0]), tmp_path / "c")
    assert len(list(tmp_path.iterdir())) == 6
