"""Tests of the figures: every seed is drawn, and missing runs are named."""

import math
import shutil
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from bench.strategy_api.built_in import find_built_in
from reports.comparison.accuracy_cost_drawing import compare_seeds
from reports.comparison.method_rows import compare_cells
from reports.document.profile import Profile
from reports.figures.accuracy_cost import draw_accuracy_cost
from reports.figures.broken_axis import NEAR, squeeze_below
from reports.figures.freeze_steps import draw_freeze_steps
from reports.figures.sensitivity_curves import Panel, draw_sensitivity_curves
from reports.figures.style import apply_style, choose_looks, save_figure
from reports.runs import run_table
from reports.runs.cells import build_cells
from reports.runs.run_table import Reader
from tests.support.synthetic_results import (
    EPOCHS,
    LAYERS,
    PROFILE,
    list_runs,
    make_result,
    write_run,
)

RUNS = list_runs(models=["resnet50", "vgg11"], methods=["full", "linear", "smartfrz", "shortened"])
HERE = Profile.of(PROFILE)


@pytest.fixture
def results(tmp_path):
    for run in RUNS:
        write_run(tmp_path, run)
    return tmp_path


def drawn(axes):
    """Return all y values that are drawn as points."""
    lines = [line for line in axes.lines if line.get_linestyle() == "None"]
    return [y for line in lines for y in np.atleast_1d(line.get_ydata())]


def draw(frame):
    return draw_accuracy_cost(frame, HERE, "Accuracy", compare_seeds)


def test_accuracy_cost_shows_the_difference_of_every_seed_inside_its_panel(results):
    figure = draw(run_table.read_runs(RUNS, results))
    assert "laptop profile" in figure.get_suptitle()
    assert len(figure.axes) == 4
    roles = {v: k for k, v in PROFILE["stands_for"].items()}
    for axes in figure.axes:
        model, dataset, full = axes.get_title().splitlines()
        pair = (roles[model.split()[0]], roles[dataset.split()[0]])
        here = [r for r in RUNS if (r["model"], r["dataset"]) == pair]
        accuracies = {(r["method"], r["seed"]): make_result(r)["accuracy"] for r in here}
        differences = [v - accuracies["full", seed] for (_, seed), v in accuracies.items()]
        assert len(differences) == 20
        shown = np.array(drawn(axes))
        assert all(np.abs(shown - difference).min() < 1e-9 for difference in differences)
        low, high = axes.get_ylim()
        assert all(low < y < high for y in differences)
        mean = np.mean([v for (method, _), v in accuracies.items() if method == "full"])
        assert full == f"full training: {mean:.1f} %"
    assert figure.axes[0].get_ylabel() == "accuracy − full (points)"


def test_accuracy_cost_without_full_training_shows_accuracies(results):
    for run in RUNS:
        if run["method"] == "full" and run["model"] == "vgg11":
            shutil.rmtree(results / "runs" / run["id"])
    resnet, vgg, *_ = draw(run_table.read_runs(RUNS, results)).axes
    assert (resnet.get_ylabel(), vgg.get_ylabel()) == ("accuracy − full (points)", "accuracy (%)")
    assert min(drawn(vgg)) > 50 > max(drawn(resnet))


def test_accuracy_cost_draws_the_intervals_of_the_tables(results):
    frame = run_table.read_runs(RUNS, results)
    [difference] = [
        compared.comparison.difference
        for compared in compare_cells(build_cells(frame))
        if compared.cell.roles == ("resnet50", "cifar10", "linear")
    ]
    lines = [line.get_ydata() for line in draw(frame).axes[0].lines if len(line.get_ydata()) == 2]
    assert any(np.allclose(line, [difference.low, difference.high]) for line in lines)


@pytest.mark.parametrize("methods", [("full", "linear"), ("linear", "full")])
def test_an_interval_without_ends_has_no_whisker_and_breaks_no_axis(methods, results):
    def compare(cell, full):
        differences, interval = compare_seeds(cell, full)
        return differences, replace(interval, low=math.nan, high=math.nan)

    frame = run_table.read_runs(list_runs(["resnet50"], ["cifar10"], methods), results)
    [axes] = draw_accuracy_cost(frame, HERE, "Accuracy", compare).axes
    assert axes.get_yscale() == "linear"
    assert not [line for line in axes.lines if line.get_marker() == "_"]
    assert len(drawn(axes)) == 2 * 5  # the seeds


def test_the_title_of_a_panel_does_not_call_a_loss_a_percentage(tmp_path):
    runs = list_runs(["vgg11"], ["cifar10"], ["full"], seeds=2)
    for run in runs:
        write_run(tmp_path, run, metric="loss", accuracy=-203.4)
    [axes] = draw(run_table.read_runs(runs, tmp_path)).axes
    assert axes.get_title().splitlines()[-1] == "full training: −203.4"


def test_accuracy_cost_names_missing_runs(results):
    write_run(results, RUNS[7], status="diverged", accuracy=None)
    for run in RUNS[:5]:
        shutil.rmtree(results / "runs" / run["id"])
    axes = draw(run_table.read_runs(RUNS, results)).axes[0]
    words = "\n".join(text.get_text() for text in axes.texts)
    assert "full: 0 of 5" in words
    assert "linear: 4 of 5 (1 diverged)" in words
    assert axes.get_xlabel() == "computation, TFLOPs"


def test_freeze_steps_show_every_layer_and_seed(results):
    reader = Reader(results)
    freeze_steps = reader.read_freeze_steps(reader.read_runs(RUNS))
    freeze_steps = freeze_steps[freeze_steps.dataset == "cifar10"]
    figure = draw_freeze_steps(freeze_steps, HERE, "When")
    assert len(figure.axes) == 4  # two models, linear and smartfrz
    assert [axes.get_title() for axes in figure.axes[:2]] == ["linear", "smartfrz"]
    for axes in figure.axes:
        points = drawn(axes)
        assert len(points) == LAYERS * 5
        never = [y for y in points if y > EPOCHS]
        assert len(never) >= 5  # the head of every seed
        assert len(set(never)) == 1
    for axes in figure.axes[::2]:  # panels of a row share their axis
        assert axes.get_yticklabels()[-1].get_text() == "never"


def test_figures_without_results(tmp_path):
    frame = run_table.read_runs(RUNS, tmp_path)
    with apply_style():
        save_figure(draw(frame), tmp_path / "a")
        save_figure(
            draw_freeze_steps(Reader(tmp_path).read_freeze_steps(frame), HERE, "When"),
            tmp_path / "b",
        )


def test_figure_of_one_seed_and_one_strategy(tmp_path):
    runs = list_runs(["vgg11"], ["cifar10"], ["full"], seeds=1)
    write_run(tmp_path, runs[0])
    frame = run_table.read_runs(runs, tmp_path)
    with apply_style():
        save_figure(draw(frame), tmp_path / "a")


def test_same_results_give_same_files_and_do_not_change_rcparams(results, tmp_path):
    frame, before = run_table.read_runs(RUNS, results), dict(mpl.rcParams)
    pictures = []
    for stem in ("a", "b"):
        with apply_style():
            files = save_figure(draw(frame), tmp_path / stem)
        pictures.append([file.read_bytes() for file in files])
    assert pictures[0] == pictures[1]
    assert dict(mpl.rcParams) == before


def test_every_method_has_its_own_look():
    known = {name: facts.look for name, facts in find_built_in().items() if facts.look}
    names = [*known, "early_half", "other", "third"]
    assert len(set(choose_looks(names).values())) == len(names)
    assert choose_looks(["early_half"])["early_half"] not in known.values()


def test_legend_with_long_names_stays_inside_the_figure(tmp_path):
    runs = list_runs(
        ["vgg11"], ["cifar10"], ["full", "linear", *(f"a_rather_{i}{'long' * 6}" for i in "abc")]
    )
    for run in runs:
        write_run(tmp_path, run)
    with apply_style():
        figure = draw(run_table.read_runs(runs, tmp_path))
        save_figure(figure, tmp_path / "a")
    box = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1


def test_value_that_is_left_out_interrupts_the_line():
    seeds = {1: 90.0, 2: 91.0}
    panel = Panel("a", "accuracy (%)", {1: seeds, 2: {}, 3: seeds}, {1: 1.0, 2: 2.0, 3: 3.0})
    axes = draw_sensitivity_curves([panel], "option", 1, "Curves").axes[0]
    lines = [line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 3]
    assert len(lines) == 3  # two seeds and their mean
    assert all(np.isnan(line).tolist() == [False, True, False] for line in lines)
    assert [(text.get_text(), text.get_position()[0]) for text in axes.texts] == [("no value", 1)]


def test_cells_slightly_below_the_best_are_not_compressed():
    """Expect a linear axis for cells near the best.

    The lower part has a fixed share of the panel and would be stretched.
    """
    axes = Figure().subplots()
    squeeze_below(axes, [[90.0, 90.4, 89.8], [90.0, 88.0, 86.0], [90 - NEAR - 0.2] * 2])
    assert axes.get_yscale() == "linear"
    squeeze_below(axes, [[90.0, 90.4, 89.8], [40.0]])
    assert axes.get_yscale() == "function"


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.floats(0, 100), min_size=1, max_size=6), min_size=1, max_size=6))
def test_broken_axis_keeps_every_value_visible_and_in_order(cells):
    axes = Figure().subplots()
    squeeze_below(axes, cells)
    values = sorted({round(v, 6) for cell in cells for v in cell})
    heights = axes.transData.transform([(0.0, v) for v in values])[:, 1]
    heights = axes.transAxes.inverted().transform([(0.0, h) for h in heights])[:, 1]
    assert np.all(heights >= -1e-9)
    assert np.all(heights <= 1 + 1e-9)
    assert np.all(np.diff(heights) > 0)
