"""Tests of the compare view and of the decisions of a run, in a browser."""

from __future__ import annotations

import re
import statistics

from playwright.sync_api import expect

from tests.support.page_results import GONE, RUNS
from tests.support.synthetic_results import make_result

HERE = "#table2 table.sortable >> nth=0"


def score(run):
    return make_result(run)["accuracy"]


def find_runs(method):
    """Return the runs of a method on the first pair of model and data set."""
    first = RUNS[0]
    return [
        run for run in RUNS
        if run["method"] == method
        and (run["model"], run["dataset"]) == (first["model"], first["dataset"])
    ]  # fmt: skip


def pick(tab, method):
    row = tab.locator(HERE).locator(f"tr[data-method={method}]").first
    row.get_by_role("button", name="compare").click()


def read_rows(tab, table):
    rows = tab.locator("#compare table").nth(table).locator("tbody tr")
    cells = [rows.nth(i).locator("th, td").all_text_contents() for i in range(rows.count())]
    return {head: values for head, *values in cells}


def test_two_rows_are_compared_side_by_side_and_seed_by_seed(shown):
    tab = shown()
    pick(tab, "linear")
    assert "linear" in tab.locator("#tray").text_content()
    pick(tab, "smartfrz")
    dialog = tab.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(tab.locator("#tray")).to_be_hidden()
    facts = read_rows(tab, 0)
    assert facts["Method"] == ["linear", "smartfrz"]
    assert facts["Seeds"] == ["4 of 5", "5 of 5"]
    assert {"Accuracy", "Difference from full", "FLOPs saved", "Time saved"} <= facts.keys()

    pairs = list(zip(find_runs("linear"), find_runs("smartfrz"), strict=True))
    differences = []
    seeds = read_rows(tab, 1)
    for one, other in pairs:
        values = seeds[str(one["seed"])][:3]
        if one == GONE:
            assert values == ["–", f"{score(other):.2f}", "–"]
            continue
        differences.append(score(other) - score(one))
        signed = f"{differences[-1]:+.2f}".replace("-", "−")
        assert values == [f"{score(one):.2f}", f"{score(other):.2f}", signed]
    mean, error = statistics.mean(differences), statistics.stdev(differences) / 4**0.5
    ends = [mean - 3.1824 * error, mean + 3.1824 * error]  # t quantile for 3 degrees of freedom
    low, high = (f"{end:+.2f}".replace("-", "−") for end in ends)
    said = f"{mean:+.2f}".replace("-", "−")
    words = tab.locator("#compare .under").text_content()
    assert f"{said} points, 95 % t interval [{low}, {high}], over 4 paired seeds" in words
    rounded = tab.evaluate("[-0.003, 0.003, -1.5, 1.5].map((value) => format(value, 2))")
    assert rounded == ["0.00", "0.00", "−1.50", "+1.50"]
    assert tab.evaluate("format(-203.4, 2, false)") == "−203.40"


def test_cells_of_different_data_sets_are_not_paired(shown):
    tab = shown()
    tab.get_by_role("button", name="Compare two cells").click()
    boxes = tab.locator("#compare select")
    names = boxes.nth(1).locator("option").all_text_contents()
    boxes.nth(1).select_option(label=next(name for name in names if "symbols100" in name))
    assert "different data sets" in tab.locator("#compare .under").text_content()
    assert {values[2] for values in read_rows(tab, 1).values()} == {"–"}


def test_cancel_forgets_the_picked_row(shown):
    tab = shown()
    pick(tab, "full")
    tab.get_by_role("button", name="Cancel").click()
    pick(tab, "smartfrz")
    expect(tab.locator("#compare")).to_be_hidden()
    assert "smartfrz" in tab.locator("#tray").text_content()


def test_every_finished_run_links_to_its_decisions_and_its_picture(shown):
    tab = shown()
    for run in (RUNS[0], find_runs("smartfrz")[0]):
        link = tab.locator(f'.dossier a[href="#run-{run["id"]}"]').first
        article = tab.locator(link.get_attribute("href"))
        layers = make_result(run)["layers"]
        frozen = [layer for layer in layers if layer["frozen_at_step"] is not None]
        assert (article.locator("symbol path").count() > 0) == (len(frozen) > 0)
        decisions = " ".join(article.locator("tbody tr").all_text_contents())
        for layer in frozen:
            assert re.search(rf"\b{layer['name']}\b", decisions)
            assert str(layer["frozen_at_step"]) in decisions
    assert tab.locator(f'a[href="#run-{GONE["id"]}"]').count() == 0


def test_decisions_open_in_the_dialog_and_back_returns_to_the_runs(shown):
    tab = shown()
    tab.locator(HERE).locator("tr[data-method=smartfrz] a.open").first.click()
    dialog = tab.get_by_role("dialog")
    thumbnail = dialog.locator(".thumb").first
    assert thumbnail.bounding_box()["width"] > 50
    dialog.get_by_role("link", name="decisions").first.click()
    assert find_runs("smartfrz")[0]["id"] in dialog.text_content()
    assert dialog.locator(".moments").bounding_box()["height"] > 50
    dialog.get_by_role("button", name="Back").click()
    assert dialog.locator("tr[data-seed]").count() == 5
    expect(dialog.get_by_role("button", name="Back")).to_be_hidden()


def test_decisions_are_readable_without_javascript(shown):
    tab = shown(script=False)
    href = tab.locator("#table2 .dossier a.open").last.get_attribute("href")
    tab.locator("#histories summary").click()
    expect(tab.locator(href)).to_be_visible()
    assert tab.locator(f"{href} tbody tr").count() > 0
