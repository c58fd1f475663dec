"""Tests of Figures 3 and 4: figures, numbers and summary of recorded runs."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.text import Text
from safetensors.numpy import load_file, save_file

from bench.cli.main import main
from bench.errors import UserError
from reports.document.profile import Profile
from reports.figures.cka_curves import GAP, draw_cka_curves, spread_heights
from reports.figures.gradient_sample import SampleComparison, draw_gradient_sample
from reports.figures.panels import build_titles
from reports.figures.style import apply_style
from reports.paper_figures.figures3_4 import SHOWN, write_curves
from reports.runs import recordings, run_table
from reports.runs.gradient_samples import TAILORED, build_histogram, measure_distances
from tests.support.synthetic_results import EPOCHS, LAYERS, PROFILE, list_runs, write_run

RUNS = list_runs(datasets=["cifar10"], methods=["record"], seeds=1)
EXPECTED = [
    "curves.txt", "figure3.svg", "figure3.png", "figure4.svg", "figure4.png",
    "figure3_histogram.csv", "figure3_distance.csv", "figure4.csv", "curves.json",
]  # fmt: skip


def record(results, run, **changes):
    """Write a finished run with a synthetic recording: layer i settles at epoch 2 + i / 2."""
    folder = write_run(results, run)
    probes = np.linspace(0, 1, 2 * EPOCHS + 1)
    settles = (2 + np.arange(LAYERS - 1) / 2) / EPOCHS
    cka = 0.9 - 0.5 * np.clip(settles - probes[:, None], 0, None)
    random = np.random.default_rng(0)
    trace = {
        "cka": cka,
        "cka_biased": (1 + cka) / 2,
        "probes": probes,
        "gradient": random.standard_normal(9000).astype(np.float32),
        "gradient_layer": np.array(5),
    }
    trace = {k: v for k, v in (trace | changes).items() if v is not None}
    save_file(trace, folder / "trace.safetensors")
    return folder


@pytest.fixture
def results(tmp_path):
    for run in RUNS[:3]:
        record(tmp_path / "results", run)
    return tmp_path / "results"  # the last model has no run


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return the results folder and the files written from it, by name."""
    folder = tmp_path_factory.mktemp("written")
    for run in RUNS[:3]:
        record(folder / "results", run)
    files = write_curves(RUNS, folder / "results", folder / "out" / "laptop", PROFILE)
    return folder / "results", {file.name: file for file in files}


def test_all_files_are_written_and_same_results_give_same_files(written, tmp_path):
    results, files = written
    assert list(files) == EXPECTED
    assert sorted(EXPECTED) == sorted(file.name for file in files["curves.txt"].parent.iterdir())
    again = write_curves(RUNS, results, tmp_path / "out", PROFILE)
    assert [f.read_bytes() for f in again] == [f.read_bytes() for f in files.values()]


def test_panels_without_results_are_marked(tmp_path):
    files = write_curves(RUNS, tmp_path / "results", tmp_path / "out", PROFILE)
    assert [file.name for file in files] == EXPECTED
    assert files[0].read_text().count("no finished run") == 4


def test_summary_agrees_with_the_recordings(written):
    text = written[1]["curves.txt"].read_text()
    assert "laptop profile" in text
    assert text.count("layer 5: layer5, 9,000 weights") == 3
    assert text.count("no finished run") == 1
    # CKA rises by 0.05 per epoch, so the last 0.01 takes less than the half epoch between probes.
    assert "layer 0: layer0                   0.900  from 2\n" in text
    assert "layer 12: layer12                 0.900  from 8\n" in text


def test_csv_files_contain_the_numbers_of_the_recordings(written):
    results, files = written
    curves = pd.read_csv(files["figure4.csv"])
    assert sorted(curves.layer.unique()) == [0, 2, 5, 7, 10, 12]  # SHOWN of 13, evenly
    assert len(curves) == 3 * SHOWN * (2 * EPOCHS + 1)
    trace = load_file(results / "runs" / RUNS[1]["id"] / "trace.safetensors")
    here = curves[(curves.id == RUNS[1]["id"]) & (curves.layer == 7)]
    np.testing.assert_allclose(here.cka, trace["cka"][:, 7])
    np.testing.assert_allclose(here.cka_biased, trace["cka_biased"][:, 7])
    np.testing.assert_allclose(here.epoch, trace["probes"] * EPOCHS)
    assert set(here.name) == {"layer7"}
    assert set(here.model) == {RUNS[1]["model"]}
    distance = pd.read_csv(files["figure3_distance.csv"])
    assert list(distance.columns) == [
        "id", "model", "dataset", "method", "seed", "layer", "name", "weights",
        "size", "median", "low", "high",
    ]  # fmt: skip
    assert set(distance.weights) == {9000}
    histogram = pd.read_csv(files["figure3_histogram.csv"])
    assert histogram.groupby("id").everything.sum().tolist() == pytest.approx([0.995] * 3, abs=1e-3)


def test_provenance_names_every_run_and_its_state(written):
    values = json.loads(written[1]["curves.json"].read_text())
    assert [run["state"] for run in values["runs"]] == ["done"] * 3 + ["missing"]
    assert values["files"] == EXPECTED[:-1]


def test_every_layer_is_drawn_and_named_and_missing_runs_are_marked(results):
    frame = run_table.read_runs(RUNS, results)
    curves = recordings.read_curves(frame, results)
    figure = draw_cka_curves(curves, build_titles(frame, Profile.of(PROFILE)), "CKA")
    assert [axes.get_title().split()[0] for axes in figure.axes] == [
        PROFILE["stands_for"][run["model"]] for run in RUNS
    ]
    for axes in figure.axes[:3]:
        drawn = [line.get_ydata() for line in axes.lines if line.get_linestyle() == "-"]
        assert len(drawn) == LAYERS - 1
        assert {text.get_text().split()[1] for text in axes.texts} == set(curves.name)
    assert [text.get_text() for text in figure.axes[3].texts] == ["no finished run"]


def test_histograms_and_distances_are_drawn_and_missing_runs_are_marked():
    values = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    here = SampleComparison("layer 3", build_histogram(values), measure_distances(values))
    figure = draw_gradient_sample({"there": here}, {"there": "a", "absent": "b"}, "Gradients")
    left, right, *absent = figure.axes
    drawn = [stairs.get_data().values for stairs in left.patches]
    assert [list(values) for values in drawn] == [
        here.histogram.everything.tolist(),
        here.histogram.sampled.tolist(),
    ]
    assert right.get_title() == "layer 3"
    assert right.lines[0].get_ydata().tolist() == here.distances["median"].tolist()
    at_tailored = here.distances.set_index("size").loc[TAILORED, "median"]
    assert right.texts[0].get_text() == f"{at_tailored:.3f} at 1,024"
    for axes in absent:
        assert [text.get_text() for text in axes.texts] == ["no finished run"]


def test_no_figure_shows_tex():
    """Check all labels for TeX, which is not parsed because names may contain dollar signs."""
    values = 1e-4 * np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    here = SampleComparison("layer 3", build_histogram(values), measure_distances(values))
    with apply_style():
        figure = draw_gradient_sample({"there": here}, {"there": "a"}, "Gradients")
        figure.draw_without_rendering()
    shown = [text.get_text() for text in figure.findobj(Text)]
    assert "gradient (10⁻⁴)" in shown
    assert "0.01" in shown
    assert not [text for text in shown if "$" in text or "\\" in text]


def test_seeds_and_data_sets_have_separate_panels(tmp_path):
    runs = list_runs(["vgg11"], ["cifar10", "cifar100"], ["record"], seeds=2)
    for run in runs:
        record(tmp_path, run)
    names = build_titles(run_table.read_runs(runs, tmp_path), Profile.of(PROFILE))
    assert len(set(names.values())) == 4
    assert names[runs[3]["id"]].endswith("symbols100 (for cifar100), seed 1")
    assert len(write_curves(runs, tmp_path, tmp_path / "out", PROFILE)) == len(EXPECTED)


@pytest.mark.parametrize(
    ("values", "epoch"),
    [
        ([0.5, 0.9, 0.905, 0.9], 1.0),
        ([0.9, 0.9, 0.9, 0.9], 0.0),
        ([0.5, 0.6, 0.7, 0.8], math.nan),
        ([0.5, 0.9, math.nan, 0.9], math.nan),
        ([0.9, 0.92, 0.9, 0.905], 2.0),
    ],
)
def test_find_settled_epoch(values, epoch):
    curve = pd.DataFrame({"epoch": [0.0, 1.0, 2.0, 3.0], "cka": values})
    assert recordings.find_settled_epoch(curve) == pytest.approx(epoch, nan_ok=True)


@pytest.mark.parametrize("key", ["cka", "gradient"])
def test_run_with_incomplete_recording_is_named(results, tmp_path, key):
    folder = record(results, RUNS[0], **{key: None})
    with pytest.raises(UserError, match=rf"{folder.name}.*has no tensor {key}; .*gradient = true"):
        write_curves(RUNS, results, tmp_path / "out", PROFILE)


def test_missing_or_damaged_recording_is_an_error(results, tmp_path):
    trace = results / "runs" / RUNS[0]["id"] / "trace.safetensors"
    trace.write_bytes(b"not tensors")
    with pytest.raises(UserError, match="cannot be read"):
        write_curves(RUNS, results, tmp_path / "out", PROFILE)
    trace.unlink()
    with pytest.raises(UserError, match="does not exist; figures 3 and 4 need"):
        write_curves(RUNS, results, tmp_path / "out", PROFILE)


SWEEP = """
title = "One small model"
table = "curves"
grid = {models = ["deit_tiny"], datasets = ["digits from scratch"], seeds = [0]}
methods = [{name = "record", options = {gradient = true, tailored = 8}}]
datasets = {"digits from scratch" = {data = "digits10", backbone = {}}}
"""


def test_sweep_trains_and_draws_its_runs(tmp_path, capsys):
    sweep, results = tmp_path / "small.toml", tmp_path / "results"
    sweep.write_text(SWEEP)
    small = ["--epochs", "2", "--train-limit", "64", "--results", str(results), "--workers", "1"]
    assert main(["sweep", str(sweep), *small]) == 0
    text = capsys.readouterr().out
    assert "gradient of layer 3: blocks.0.mlp.fc1, 9,216 weights" in text
    curves = pd.read_csv(results / "reports" / "laptop" / "figure4.csv")
    assert sorted(curves.epoch.unique()) == [0, 0.5, 1, 1.5, 2]
    assert curves.layer.nunique() == SHOWN


def test_sweep_without_runs_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no runs"):
        write_curves([], tmp_path, tmp_path / "out", PROFILE)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_labels_keep_their_order_and_minimum_distance(heights):
    placed = spread_heights(heights, GAP)
    order = np.argsort(heights, kind="stable")
    gaps = np.diff(np.array(placed)[order])
    assert (gaps >= GAP - 1e-9).all()
    assert max(placed) <= 1
    free = np.diff(np.sort(heights)) >= GAP
    if free.all():
        assert placed == pytest.approx(heights)  # no label has to move
