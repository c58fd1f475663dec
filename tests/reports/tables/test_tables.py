"""Tests of Tables 1 and 3 to 9 with synthetic results of the runs of their sweeps."""

import csv
import io
import json
import math
import shutil
from statistics import mean

import pytest

from bench.planning.sweep import load_sweep
from reports.comparison.paired_difference import compare_accuracy
from reports.document.csv_file import format_csv
from reports.document.markdown import format_markdown
from reports.document.terminal import format_text
from reports.paper.printed_tables import read_entries
from reports.publishing.build import BUILDERS, build_report, write
from reports.publishing.from_sweep import describe_profile, list_shown_runs
from reports.runs import run_table
from reports.runs.cells import build_cells
from reports.runs.run_table import Reader
from tests.support.synthetic_results import STANDS_FOR, make_result, write_outcome

TABLES = [name for name in BUILDERS if name.startswith("table") and name != "table2"]
OPTIONS = ("table4", "table5", "table8", "table9")
LIKE = {"window": "smartfrz", "size": "smartfrz", "t0": "linear", "M": "autofreeze"}
WEIGHTS = [100, 600, 1100, 2100, 4200, 9000, 9000, 9000, 9000, 9000, 9000, 9000, 9000, 7]


class Made:
    """Sweep of a table, with synthetic results of its runs in a folder."""

    def __init__(self, name, folder):
        sweep = load_sweep(name, "laptop")
        self.name, self.results = name, folder / "results"
        self.wanted, self.profile = list_shown_runs(sweep), describe_profile(sweep)
        self.references = [spec for spec in sweep.artifacts if spec.data == "symbols100"]
        for run in self.wanted:
            self.put(run)
        for spec in self.references:
            self.put({"id": spec.id, "cell": spec.cell, "seed": spec.seed, "model": "x",
                      "dataset": "cifar100", "method": "full"})  # fmt: skip

    def put(self, run, **changes):
        """Write the result of a run."""
        folder = self.results / "runs" / run["id"]
        folder.mkdir(parents=True, exist_ok=True)
        method = run["method"].split()[0]
        device = {"device": changes.pop("device", "a made-up CPU"), "threads": 1}
        made = make_result({**run, "method": LIKE.get(method, method)}) | changes
        for layer, weights in zip(made["layers"], WEIGHTS, strict=True):
            layer["weights"] = weights
        (folder / "environment.json").write_text(json.dumps(device))
        write_outcome(folder, run, made)

    def remove(self, run):
        """Delete a run's folder."""
        shutil.rmtree(self.results / "runs" / run["id"])

    def report(self):
        """Build the table's report from the current results."""
        return build_report(self.name, self.wanted, Reader(self.results), self.profile)

    def cell(self, method, model="resnet50", dataset=None):
        """Return the wanted runs of a cell."""
        dataset = dataset or self.wanted[0]["dataset"]
        roles = {"method": method, "model": model, "dataset": dataset}
        return [run for run in self.wanted if roles.items() <= run.items()]

    def result(self, run):
        """Return the content of a run's result.json."""
        return json.loads((self.results / "runs" / run["id"] / "result.json").read_text())


@pytest.fixture
def made(request, tmp_path):
    return Made(request.param, tmp_path)


def table(*names):
    return pytest.mark.parametrize("made", names, indirect=True)


def rows(report):
    return report.numbers[report.name].rows


def row(report, cell):
    [found] = [r for r in rows(report) if r["cell"] == cell[0]["cell"]]
    return found


def text(report):
    return "\n".join(format_markdown(part) for part in report.parts)


@table(*TABLES)
def test_every_cell_has_the_mean_of_its_runs(made):
    report = made.report()
    cells = {run["cell"] for run in made.wanted}
    assert {r["cell"] for r in rows(report)} == cells
    assert len(rows(report)) == len(cells)
    for cell in cells:
        runs = [run for run in made.wanted if run["cell"] == cell]
        found = row(report, runs)
        assert found["count"] == "5 of 5"
        accuracies = [made.result(run)["accuracy"] for run in runs]
        assert found["accuracy"] == pytest.approx(mean(accuracies))
        totals = [made.result(run)["flops"]["paper"]["total"] for run in runs]
        assert found["paper_total"] == pytest.approx(mean(totals))


@table(*TABLES)
def test_deleted_runs_are_counted_and_an_empty_cell_shows_a_dash(made):
    runs = made.cell(made.wanted[-1]["method"], made.wanted[-1]["model"],
                     made.wanted[-1]["dataset"])  # fmt: skip
    made.remove(runs[0])
    report = made.report()
    assert row(report, runs)["count"] == "4 of 5"
    assert f"1 of {len(made.wanted)} runs have no result yet" in text(report)
    for run in runs[1:]:
        made.remove(run)
    report = made.report()
    found = row(report, runs)
    assert found["count"] == "0 of 5"
    assert math.isnan(found["accuracy"])
    for part in (report.parts[0], report.compact[0]):
        [place] = [i for i, r in enumerate(part.rows) if r["cell"] == found["cell"]]
        shown = [column.text(part.rows[place]) for column in part.columns]
        assert shown[2] == "–"  # the accuracy, after the setting and the seeds


@table(*TABLES)
def test_diverged_seed_is_marked_and_its_run_is_named(made):
    run = made.cell("full", made.wanted[-1]["model"], made.wanted[-1]["dataset"])[2]
    made.put(run, status="diverged", accuracy=None, reason="loss is nan")
    words = text(made.report())
    assert "4 of 5 (1 diverged)" in words
    assert f"(run {run['id']}): loss is nan." in words


@table(*TABLES)
def test_report_without_results_has_only_dashes_and_all_files(made, tmp_path):
    shutil.rmtree(made.results)
    report = write(made.name, made.wanted, made.results, tmp_path / "out", made.profile)
    assert all(r["count"] == "0 of 5" for r in rows(report))
    names = [file.name for file in report.files]
    stems = [f"{d.name}.{ending}" for d in report.drawings for ending in ("svg", "png")]
    numbers = [f"{stem}.csv" for stem in report.numbers]
    assert names == [
        f"{made.name}.txt", f"{made.name}.md", *numbers, f"{made.name}.tex", *stems,
        f"{made.name}.json",
    ]  # fmt: skip
    assert numbers[0] == f"{made.name}.csv"
    assert all(file.stat().st_size > 100 for file in report.files)


@table(*TABLES)
def test_terminal_text_fits_and_csv_has_unrounded_numbers(made):
    report = made.report()
    for part in report.compact:
        lines = format_text(part).splitlines()
        assert max(map(len, lines)) <= 120
        assert not any("…" in line for line in lines[:20])
    numbers = list(csv.DictReader(io.StringIO(format_csv(report.numbers[made.name]))))
    assert [float(n["accuracy"]) for n in numbers] == [r["accuracy"] for r in rows(report)]


@table(*TABLES)
def test_all_accuracies_of_the_papers_table_are_shown(made):
    report = made.report()
    printed = sorted(entry["accuracy"] for entry in read_entries(int(made.name[-1])))
    shown = [r["published_accuracy"] for r in rows(report)]
    assert sorted(v for v in shown if v is not None and not math.isnan(v)) == printed


@table("table1")
def test_saving_with_the_reference_includes_the_cost_of_training_it(made):
    report = made.report()
    guided = row(report, made.cell("cka_oracle"))
    references = {run["reference"] for run in made.cell("cka_oracle")}
    assert len(references) == 5  # one for each split of the data
    cost = mean(made.result({"id": r})["flops"]["exact"]["total"] for r in references)
    whole = row(report, made.cell("full"))["exact_total"]
    assert guided["reference_exact"] == pytest.approx(cost)
    spent = guided["exact_total"] + guided["decide_flops"]
    assert guided["exact_saved"] == pytest.approx(1 - spent / whole)
    assert guided["saved_with_reference"] == pytest.approx(1 - (spent + cost) / whole)
    assert guided["saved_with_reference"] < 0
    assert row(report, made.cell("full"))["saved_with_reference"] is None


@table("table1")
def test_reference_without_a_result_is_reported(made):
    made.remove({"id": made.cell("cka_oracle", "vgg11")[0]["reference"]})
    report = made.report()
    assert math.isnan(row(report, made.cell("cka_oracle", "vgg11"))["saved_with_reference"])
    assert not math.isnan(row(report, made.cell("cka_oracle"))["saved_with_reference"])
    note = "A reference of laptop_vgg11 (for vgg11) on symbols100 (for cifar100) has no result yet."
    assert note in text(report)


@table("table3", "table7")
def test_columns_that_the_paper_does_not_print_are_left_out(made):
    report = made.report()
    heads = [column.head for part in report.parts for column in part.columns]
    assert "Paper: time (s)" in heads
    assert "Paper: time saved (%)" in heads
    assert not any("Paper" in head and ("comp" in head or "FLOPs" in head) for head in heads)


@table("table3", "table7", "table4")
def test_data_of_the_predictors_training_kind_is_named(made):
    words = text(made.report())
    note = "ImageNet. glyphs:noisy (for imagenet) is the same kind of data, so it is not new"
    assert (note in words) == (made.name != "table4")
    assert ("predictor was trained on glyphs:barred, glyphs:few" in words) == (note in words)
    assert "glyphs:noisy" not in made.profile["sources"]


@table("table3")
def test_note_corrects_the_papers_caption(made):
    assert "caption of this table says CIFAR-10" in text(made.report())


@table("table4")
def test_difference_to_default_is_paired_by_seed(made):
    for method, accuracies in (
        ("window 30", [80, 81, 82, 83, 84]),
        ("window 50", [79.9, 80.9, 81.9, 82.9, 83.4]),
    ):
        for run, accuracy in zip(made.cell(method), accuracies, strict=True):
            made.put(run, accuracy=accuracy)
    report = made.report()
    found = row(report, made.cell("window 50"))
    half = 2.7764451 * math.sqrt(0.05 / 5)  # differences −0.1, −0.1, −0.1, −0.1, −0.6
    assert found["to_default"] == pytest.approx(-0.2)
    assert found["to_default_low"] == pytest.approx(-0.2 - half)
    assert found["published_difference"] == pytest.approx(82.11 - 81.73)
    default = row(report, made.cell("window 30"))
    assert math.isnan(default["to_default"])
    assert default["published_difference"] is None
    assert default["setting"] == "30 (default)"
    made.remove(made.cell("window 30")[4])
    report = made.report()
    found = row(report, made.cell("window 50"))
    assert found["to_default"] == pytest.approx(-0.1)
    for part, mark in ((report.parts[0], "] (4 of 5 seeds)"), (report.compact[0], "] (n=4)")):
        [column] = [column for column in part.columns if column.key == "to_default"]
        assert column.text(found).endswith(mark)


@table(*OPTIONS)
def test_holm_correction_counts_all_settings_of_the_table(made):
    frame = Reader(made.results).runs(made.wanted)
    tested = [r for r in rows(made.report()) if not math.isnan(r["p_different"])]
    models = {run["model"] for run in made.wanted}
    assert len(tested) == 3 * len(models)  # four settings, one of them the default
    smallest = min(tested, key=lambda r: r["p_different"])
    cells = {cell.runs[0]["cell"]: cell for cell in build_cells(frame)}
    ours = cells[smallest["cell"]]
    [default] = [
        cells[r["cell"]]
        for r in rows(made.report())
        if "(default)" in r["setting"] and r["model"] == smallest["model"]
    ]
    alone = compare_accuracy(ours, default).p_different
    assert smallest["p_different"] == pytest.approx(min(1, len(tested) * alone))
    # Settings without a result count as well. Otherwise unfinished results would look better.
    others = [r["cell"] for r in tested if r is not smallest]
    for run in made.wanted:
        if run["cell"] in others:
            made.put(run, status="diverged", accuracy=None)
    [again] = [r for r in rows(made.report()) if r["cell"] == smallest["cell"]]
    assert again["p_different"] == smallest["p_different"]


@table(*OPTIONS)
def test_a_setting_with_a_missing_run_is_not_tested(made):
    tested = [r for r in rows(made.report()) if not math.isnan(r["p_different"])]
    one = [run for run in made.wanted if run["cell"] == tested[0]["cell"]]
    made.put(one[0], status="diverged", accuracy=None)
    assert math.isnan(row(made.report(), one)["p_different"])
    [default] = {
        r["cell"]
        for r in rows(made.report())
        if "(default)" in r["setting"] and r["model"] == tested[-1]["model"]
    }
    made.remove(next(run for run in made.wanted if run["cell"] == default))
    last = [r for r in rows(made.report()) if r["model"] == tested[-1]["model"]]
    assert all(math.isnan(r["p_different"]) for r in last)


@table("table8")
def test_times_of_settings_on_two_devices_are_left_out(made):
    other = made.cell(next(run["method"] for run in made.wanted if run["method"] != "full"))
    for run in other:
        made.put(run, device="another made-up CPU")
    settings = [r for r in rows(made.report()) if r["model"] == row(made.report(), other)["model"]]
    assert all(r["time_s"] is None and "§" in r["time_mark"] for r in settings)
    assert "§ runs used different devices" in text(made.report())


@table(*OPTIONS)
def test_range_over_the_settings_is_reported_only_if_all_runs_finished(made):
    model = made.profile["stands_for"]["resnet50"]
    report = made.report()
    here = [r for r in rows(report) if r["value"] and r["model"].startswith(model)]
    width = max(r["accuracy"] for r in here) - min(r["accuracy"] for r in here)
    assert f"the worst setting differ by {width:.2f} points here" in text(report)
    for run in made.cell(here[0]["method"]):
        made.remove(run)
    assert "the worst setting differ by an unknown amount here" in text(made.report())


@table(*OPTIONS)
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


@table("table5")
def test_share_of_layers_smaller_than_the_tailored_size(made):
    shares = {r["value"]: r["with_replacement"] for r in rows(made.report())}
    assert shares == {None: None, 512: 1 / 13, 1024: 2 / 13, 2048: 3 / 13, 4096: 4 / 13}


@table("table5")
def test_results_without_layer_sizes_give_no_share_of_small_layers(made):
    for run in made.wanted:
        folder = made.results / "runs" / run["id"]
        result = made.result(run)
        for layer in result["layers"]:
            del layer["weights"]
        (folder / "result.json").write_text(json.dumps(result))
    assert {r["with_replacement"] for r in rows(made.report())} == {None}


def test_run_shown_by_several_tables_is_read_once(tmp_path, monkeypatch):
    tables = [Made(name, tmp_path) for name in ("table1", "table4", "table9")]
    opened = []
    whole = run_table._object
    monkeypatch.setattr(run_table, "_object", lambda path: opened.append(path) or whole(path))
    reader = Reader(tmp_path / "results")
    for one in tables:
        build_report(one.name, one.wanted, reader, one.profile)
    assert len(opened) == len(set(opened))
    assert {run["id"] for one in tables for run in one.wanted} <= {p.parent.name for p in opened}


def test_stand_ins_of_other_tables_are_not_listed(tmp_path):
    profile = Made("table1", tmp_path).profile
    models = ("resnet50", "vgg11", "cifar100")
    assert profile["stands_for"] == {role: STANDS_FOR[role] for role in models}
