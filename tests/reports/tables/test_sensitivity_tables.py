"""Tests of Tables 4, 5, 8 and 9 with synthetic results: differences from the default setting."""

import json
import math

import pytest

from reports.comparison.paired_difference import compare_accuracy
from reports.paper.printed_tables import read_entries
from reports.runs.cells import build_cells
from reports.runs.run_table import Reader
from tests.support.table_results import OPTIONS, find_row, format_parts, list_rows, of_tables


@of_tables("table4")
def test_difference_to_default_is_paired_by_seed(made):
    for method, accuracies in (
        ("window 30", [80, 81, 82, 83, 84]),
        ("window 50", [79.9, 80.9, 81.9, 82.9, 83.4]),
    ):
        for run, accuracy in zip(made.cell(method), accuracies, strict=True):
            made.put(run, accuracy=accuracy)
    report = made.report()
    found = find_row(report, made.cell("window 50"))
    half = 2.7764451 * math.sqrt(0.05 / 5)  # differences −0.1, −0.1, −0.1, −0.1, −0.6
    assert found["to_default"] == pytest.approx(-0.2)
    assert found["to_default_low"] == pytest.approx(-0.2 - half)
    assert found["published_difference"] == pytest.approx(82.11 - 81.73)
    default = find_row(report, made.cell("window 30"))
    assert math.isnan(default["to_default"])
    assert default["published_difference"] is None
    assert default["setting"] == "30 (default)"
    made.remove(made.cell("window 30")[4])
    report = made.report()
    found = find_row(report, made.cell("window 50"))
    assert found["to_default"] == pytest.approx(-0.1)
    for part, mark in ((report.parts[0], "] (4 of 5 seeds)"), (report.compact[0], "] (n=4)")):
        [column] = [column for column in part.columns if column.key == "to_default"]
        assert column.text(found).endswith(mark)


@of_tables(*OPTIONS)
def test_holm_correction_counts_all_settings_of_the_table(made):
    frame = Reader(made.results).read_runs(made.wanted)
    tested = [r for r in list_rows(made.report()) if not math.isnan(r["p_different"])]
    models = {run["model"] for run in made.wanted}
    assert len(tested) == 3 * len(models)  # four settings, one of them the default
    smallest = min(tested, key=lambda r: r["p_different"])
    cells = {cell.runs[0]["cell"]: cell for cell in build_cells(frame)}
    ours = cells[smallest["cell"]]
    [default] = [
        cells[r["cell"]]
        for r in list_rows(made.report())
        if "(default)" in r["setting"] and r["model"] == smallest["model"]
    ]
    alone = compare_accuracy(ours, default).p_different
    assert smallest["p_different"] == pytest.approx(min(1, len(tested) * alone))
    # Settings without a result count as well. Otherwise unfinished results would look better.
    others = [r["cell"] for r in tested if r is not smallest]
    for run in made.wanted:
        if run["cell"] in others:
            made.put(run, status="diverged", accuracy=None)
    [again] = [r for r in list_rows(made.report()) if r["cell"] == smallest["cell"]]
    assert again["p_different"] == smallest["p_different"]


@of_tables(*OPTIONS)
def test_a_setting_with_a_missing_run_is_not_tested(made):
    tested = [r for r in list_rows(made.report()) if not math.isnan(r["p_different"])]
    cell = [run for run in made.wanted if run["cell"] == tested[0]["cell"]]
    made.put(cell[0], status="diverged", accuracy=None)
    assert math.isnan(find_row(made.report(), cell)["p_different"])
    [default] = {
        r["cell"]
        for r in list_rows(made.report())
        if "(default)" in r["setting"] and r["model"] == tested[-1]["model"]
    }
    made.remove(next(run for run in made.wanted if run["cell"] == default))
    last = [r for r in list_rows(made.report()) if r["model"] == tested[-1]["model"]]
    assert all(math.isnan(r["p_different"]) for r in last)


@of_tables("table8")
def test_times_of_settings_on_two_devices_are_left_out(made):
    other = made.cell(next(run["method"] for run in made.wanted if run["method"] != "full"))
    for run in other:
        made.put(run, device="another made-up CPU")
    settings = [
        r for r in list_rows(made.report()) if r["model"] == find_row(made.report(), other)["model"]
    ]
    assert all(r["time_s"] is None and "§" in r["time_mark"] for r in settings)
    assert "§ runs used different devices" in format_parts(made.report())


@of_tables(*OPTIONS)
def test_range_over_the_settings_is_reported_only_if_all_runs_finished(made):
    model = made.profile["stands_for"]["resnet50"]
    report = made.report()
    here = [r for r in list_rows(report) if r["value"] and r["model"].startswith(model)]
    width = max(r["accuracy"] for r in here) - min(r["accuracy"] for r in here)
    assert f"the worst setting differ by {width:.2f} points here" in format_parts(report)
    for run in made.cell(here[0]["method"]):
        made.remove(run)
    assert "the worst setting differ by an unknown amount here" in format_parts(made.report())


@of_tables(*OPTIONS)
def test_curves_show_every_seed_and_the_papers_values(made):
    [drawing] = made.report().drawings
    figure = drawing.draw()
    shown = {round(y, 6) for axes in figure.axes for line in axes.lines for y in line.get_ydata()}
    option = {"table4": "window", "table5": "tailored", "table8": "t0", "table9": "M"}[made.name]
    for run in made.wanted:
        if option in run["options"]:
            assert round(made.result(run)["accuracy"], 6) in shown
    printed = {entry["accuracy"] for entry in read_entries(int(made.name[-1]))}
    assert printed <= shown
    for upper, lower in zip(*[iter(figure.axes)] * (len(figure.axes) // 2), strict=False):
        assert upper.get_ylim()[0] < upper.get_ylim()[1]
        assert lower.get_ylim()[0] < lower.get_ylim()[1]


@of_tables("table5")
def test_share_of_layers_smaller_than_the_tailored_size(made):
    shares = {r["value"]: r["with_replacement"] for r in list_rows(made.report())}
    assert shares == {None: None, 512: 1 / 13, 1024: 2 / 13, 2048: 3 / 13, 4096: 4 / 13}


@of_tables("table5")
def test_results_without_layer_sizes_give_no_share_of_small_layers(made):
    for run in made.wanted:
        folder = made.results / "runs" / run["id"]
        result = made.result(run)
        for layer in result["layers"]:
            del layer["weights"]
        (folder / "result.json").write_text(json.dumps(result))
    assert {r["with_replacement"] for r in list_rows(made.report())} == {None}
