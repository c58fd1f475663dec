"""Tests of Tables 1 and 3 to 9 with synthetic results of the runs of their sweeps."""

import csv
import io
import math
import shutil
from statistics import mean

import pytest

from reports.document.csv_file import format_csv
from reports.document.terminal import format_text
from reports.paper.printed_tables import read_entries
from reports.publishing.build import BUILDERS, build_report, write_report
from reports.runs import run_table
from reports.runs.run_table import Reader
from tests.support.synthetic_results import STANDS_FOR
from tests.support.table_results import (
    TableResults,
    find_row,
    format_parts,
    list_rows,
    of_tables,
)

TABLES = [name for name in BUILDERS if name.startswith("table") and name != "table2"]


@of_tables(*TABLES)
def test_every_cell_has_the_mean_of_its_runs(made):
    report = made.report()
    cells = {run["cell"] for run in made.wanted}
    assert {r["cell"] for r in list_rows(report)} == cells
    assert len(list_rows(report)) == len(cells)
    for cell in cells:
        runs = [run for run in made.wanted if run["cell"] == cell]
        found = find_row(report, runs)
        assert found["count"] == "5 of 5"
        accuracies = [made.result(run)["accuracy"] for run in runs]
        assert found["accuracy"] == pytest.approx(mean(accuracies))
        totals = [made.result(run)["flops"]["paper"]["total"] for run in runs]
        assert found["paper_total"] == pytest.approx(mean(totals))


@of_tables(*TABLES)
def test_deleted_runs_are_counted_and_an_empty_cell_shows_a_dash(made):
    runs = made.cell(made.wanted[-1]["method"], made.wanted[-1]["model"],
                     made.wanted[-1]["dataset"])  # fmt: skip
    made.remove(runs[0])
    report = made.report()
    assert find_row(report, runs)["count"] == "4 of 5"
    assert f"1 of {len(made.wanted)} runs has no result yet" in format_parts(report)
    for run in runs[1:]:
        made.remove(run)
    report = made.report()
    found = find_row(report, runs)
    assert found["count"] == "0 of 5"
    assert math.isnan(found["accuracy"])
    for part in (report.parts[0], report.compact[0]):
        [place] = [i for i, r in enumerate(part.rows) if r["cell"] == found["cell"]]
        shown = [column.text(part.rows[place]) for column in part.columns]
        assert shown[2] == "–"  # the accuracy, after the setting and the seeds


@of_tables(*TABLES)
def test_diverged_seed_is_marked_and_its_run_is_named(made):
    run = made.cell("full", made.wanted[-1]["model"], made.wanted[-1]["dataset"])[2]
    made.put(run, status="diverged", accuracy=None, reason="loss is nan")
    words = format_parts(made.report())
    assert "4 of 5 (1 diverged)" in words
    assert f"(run {run['id']}): loss is nan." in words


@of_tables(*TABLES)
def test_report_without_results_has_only_dashes_and_all_files(made, tmp_path):
    shutil.rmtree(made.results)
    report = write_report(made.name, made.wanted, made.results, tmp_path / "out", made.profile)
    assert all(r["count"] == "0 of 5" for r in list_rows(report))
    names = [file.name for file in report.files]
    stems = [f"{d.name}.{ending}" for d in report.drawings for ending in ("svg", "png")]
    numbers = [f"{stem}.csv" for stem in report.numbers]
    assert names == [
        f"{made.name}.txt", f"{made.name}.md", *numbers, f"{made.name}.tex", *stems,
        f"{made.name}.json",
    ]  # fmt: skip
    assert numbers[0] == f"{made.name}.csv"
    assert all(file.stat().st_size > 100 for file in report.files)


@of_tables(*TABLES)
def test_terminal_text_fits_and_csv_has_unrounded_numbers(made):
    report = made.report()
    for part in report.compact:
        lines = format_text(part).splitlines()
        assert max(map(len, lines)) <= 120
        assert not any("…" in line for line in lines[:20])
    numbers = list(csv.DictReader(io.StringIO(format_csv(report.numbers[made.name]))))
    assert [float(n["accuracy"]) for n in numbers] == [r["accuracy"] for r in list_rows(report)]


@of_tables(*TABLES)
def test_all_accuracies_of_the_papers_table_are_shown(made):
    report = made.report()
    printed = sorted(entry["accuracy"] for entry in read_entries(int(made.name[-1])))
    shown = [r["published_accuracy"] for r in list_rows(report)]
    assert sorted(v for v in shown if v is not None and not math.isnan(v)) == printed


@of_tables("table1")
def test_saving_with_the_reference_includes_the_cost_of_training_it(made):
    report = made.report()
    guided = find_row(report, made.cell("cka_oracle"))
    references = {run["reference"] for run in made.cell("cka_oracle")}
    assert len(references) == 5  # one for each split of the data
    cost = mean(made.result({"id": r})["flops"]["exact"]["total"] for r in references)
    whole = find_row(report, made.cell("full"))["exact_total"]
    assert guided["reference_exact"] == pytest.approx(cost)
    spent = guided["exact_total"] + guided["decide_flops"]
    assert guided["exact_saved"] == pytest.approx(1 - spent / whole)
    assert guided["saved_with_reference"] == pytest.approx(1 - (spent + cost) / whole)
    assert guided["saved_with_reference"] < 0
    assert find_row(report, made.cell("full"))["saved_with_reference"] is None


@of_tables("table1")
def test_reference_without_a_result_is_reported(made):
    made.remove({"id": made.cell("cka_oracle", "vgg11")[0]["reference"]})
    report = made.report()
    assert math.isnan(find_row(report, made.cell("cka_oracle", "vgg11"))["saved_with_reference"])
    assert not math.isnan(find_row(report, made.cell("cka_oracle"))["saved_with_reference"])
    note = "A reference of laptop_vgg11 (for vgg11) on symbols100 (for cifar100) has no result yet."
    assert note in format_parts(report)


@of_tables("table3", "table7")
def test_columns_that_the_paper_does_not_print_are_left_out(made):
    report = made.report()
    heads = [column.head for part in report.parts for column in part.columns]
    assert "Paper: time (s)" in heads
    assert "Paper: time saved (%)" in heads
    assert not any("Paper" in head and ("comp" in head or "FLOPs" in head) for head in heads)


@of_tables("table3", "table7", "table4")
def test_data_of_the_predictors_training_kind_is_named(made):
    words = format_parts(made.report())
    note = "ImageNet. glyphs:noisy (for imagenet) is of the same kind as the training data of our "
    assert (note in words) == (made.name != "table4")
    assert ("predictor was trained on glyphs:barred, glyphs:few" in words) == (note in words)
    assert "glyphs:noisy" not in made.profile["sources"]


@of_tables("table3")
def test_note_corrects_the_papers_caption(made):
    assert "caption of this table says CIFAR-10" in format_parts(made.report())


def test_run_shown_by_several_tables_is_read_once(tmp_path, monkeypatch):
    tables = [TableResults(name, tmp_path) for name in ("table1", "table4", "table9")]
    opened = []
    whole = run_table._object
    monkeypatch.setattr(run_table, "_object", lambda path: opened.append(path) or whole(path))
    reader = Reader(tmp_path / "results")
    for table in tables:
        build_report(table.name, table.wanted, reader, table.profile)
    assert len(opened) == len(set(opened))
    assert {run["id"] for table in tables for run in table.wanted} <= {
        p.parent.name for p in opened
    }


def test_stand_ins_of_other_tables_are_not_listed(tmp_path):
    profile = TableResults("table1", tmp_path).profile
    models = ("resnet50", "vgg11", "cifar100")
    assert profile["stands_for"] == {role: STANDS_FOR[role] for role in models}
