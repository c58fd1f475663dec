"""Tests of the filters of the page in a browser."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.support.page_results import DATASETS, MODELS, RUNS

ROWS = "#table2 table.sortable tbody tr:not(.block)"


def choose(tab, *names):
    """Tick, for each name, the first box of the filter whose label contains the name."""
    for name in names:
        tab.locator("#filters label", has_text=name).first.locator("input").check()


def list_visible(tab, selector):
    """Return the model, data set and method of the visible rows or articles."""
    script = "e => e.filter(r => r.offsetParent).map(r => ({...r.dataset}))"
    found = tab.eval_on_selector_all(selector, script)
    return [tuple(row.get(axis) for axis in ("model", "data", "method")) for row in found]


def test_filter_offers_every_model_data_set_and_method(shown):
    tab = shown()
    sets = tab.locator("#filters fieldset")
    assert [sets.nth(i).locator("input").count() for i in range(3)] == [
        len(MODELS), len(DATASETS), len({run["method"] for run in RUNS})
    ]  # fmt: skip


def test_filter_shows_only_the_chosen_rows_in_every_table(shown):
    tab = shown()
    before = list_visible(tab, ROWS)
    choose(tab, "laptop_vgg11", "digits10", "smartfrz", "full")
    after = list_visible(tab, ROWS)
    kept = [
        row for row in before
        if (row[0] is None or "vgg11" in row[0])
        and (row[1] is None or "digits10" in row[1])
        and row[2] in ("smartfrz", "full")
    ]  # fmt: skip
    assert after == kept
    assert 0 < len(after) < len(before)
    assert any(model is None for model, _, _ in after)  # a pooled row has no model
    assert f"{len(after)} of " in tab.locator("#filters output").text_content()


def test_blocks_without_rows_are_hidden_and_sorting_keeps_the_filter(shown):
    tab = shown()
    choose(tab, "laptop_vgg11", "linear")
    table = tab.locator("#table2 table.sortable").first
    blocks = table.locator("tr.block")
    seen = [
        blocks.nth(i).text_content() for i in range(blocks.count()) if blocks.nth(i).is_visible()
    ]
    assert len(seen) == len(DATASETS)
    assert all("vgg11" in text for text in seen)
    table.locator("thead button").nth(3).click()
    rows = table.locator("tbody tr:visible")
    assert rows.count() == len(DATASETS)
    assert all("linear" in rows.nth(i).text_content() for i in range(rows.count()))


def test_a_table_without_a_matching_row_says_so(shown):
    tab = shown()
    choose(tab, "full")
    against = tab.locator("#table2 table.sortable").nth(1)  # has no row for full training
    expect(against).to_be_hidden()
    note = tab.locator("p:visible", has_text="No row of this table matches the filter.")
    assert note.count() > 0
    tab.get_by_role("button", name="Show all").click()
    expect(against).to_be_visible()
    assert note.count() == 0
    assert tab.locator("#filters output").text_content() == "All rows are shown."


def test_without_javascript_there_is_no_filter_and_every_row(shown):
    tab = shown(script=False)
    expect(tab.locator("#filters")).to_be_hidden()
    expect(tab.locator("#open-compare")).to_be_hidden()
    assert tab.locator(f"{ROWS}:visible").count() == tab.locator(ROWS).count() > 0
