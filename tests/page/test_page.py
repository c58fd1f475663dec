"""Tests of the page in a browser: content, sorting, dialogs, colour schemes and printing."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.support.page_results import GONE, RUNS

WIDE = "document.documentElement.scrollWidth"
GROUND = "getComputedStyle(document.body).backgroundColor"
HERE = "#table2 table.sortable >> nth=0"  # the table of results


def column(tab, table, head):
    """Return the cells of a column, from top to bottom."""
    heads = [
        text.split("\n")[-1] for text in tab.locator(f"{table} >> thead th").all_text_contents()
    ]
    place = next(i for i, text in enumerate(heads) if head in text)
    rows = tab.locator(table).locator("tbody tr:not(.block)")
    return [rows.nth(i).locator("th, td").nth(place) for i in range(rows.count())]


def brightness(colour):
    """Return the brightness (0 to 255) of a colour in the form rgb(…)."""
    return sum(int(value) for value in re.findall(r"\d+", colour)[:3]) / 3


def test_page_shows_every_row_and_number_of_every_table(shown, table2):
    tab = shown()
    tables = tab.locator("#table2 table.sortable")
    assert tables.count() == len(table2.parts)
    for i, part in enumerate(table2.parts):
        rows = tables.nth(i).locator("tbody tr:not(.block)")
        assert rows.count() == len(part.rows)
        for j, row in enumerate(part.rows):
            words = rows.nth(j).text_content()
            for one in part.columns:
                assert one.text(row) in words


def test_tables_have_headings_for_screen_readers(shown):
    tab = shown()
    assert tab.locator("table.sortable:not(:has(thead th[scope=col]))").count() == 0
    assert tab.locator("table.sortable tbody tr:not(.block):not(:has(th[scope=row]))").count() == 0
    assert tab.get_by_role("row", name=re.compile("smartfrz")).count() > 0


def test_figures_are_large_enough_to_read_and_have_unique_ids(shown, table2):
    for width in (360, 1280):
        tab = shown(width)
        figures = tab.locator("figure svg")
        assert figures.count() == len(table2.drawings)
        for i in range(figures.count()):
            box = figures.nth(i).bounding_box()
            drawn = float(figures.nth(i).evaluate("e => e.style.getPropertyValue('--width')")[:-2])
            assert box["width"] >= min(600, drawn)
            assert box["height"] >= 200
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    referred = tab.evaluate(
        "[...document.querySelectorAll('use')].map(e => e.getAttribute('href'))"
    )
    assert {name.removeprefix("#") for name in referred} <= set(ids)


def test_page_is_not_wider_than_the_screen(shown):
    for width in (360, 768, 1280):
        assert shown(width).evaluate(WIDE) <= width


def test_missing_run_is_counted_and_not_hidden(shown):
    tab = shown()
    assert f"{len(RUNS) - 1} of {len(RUNS)}" in tab.locator("header").text_content()
    linear = tab.locator(HERE).locator("tbody tr:not(.block)").nth(1)
    assert "4 of 5" in linear.text_content()
    assert linear.locator(".strip circle").count() == 4


def test_every_finished_seed_is_a_point(shown):
    tab = shown()
    strips = tab.locator(HERE).locator(".strip")
    assert strips.count() == 16
    assert tab.locator(HERE).locator(".strip circle").count() == len(RUNS) - 1


def test_click_on_a_heading_sorts_by_number(shown):
    tab = shown()
    head = tab.locator(HERE).locator("thead th", has_text="Accuracy").first
    before = [cell.text_content() for cell in column(tab, HERE, "Accuracy")]
    assert head.get_attribute("aria-sort") == "none"

    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    orders = [float(cell.get_attribute("data-order")) for cell in column(tab, HERE, "Accuracy")]
    assert orders == sorted(orders)
    printed = [cell.text_content() for cell in column(tab, HERE, "Accuracy")]
    assert printed != before
    assert sorted(printed) == sorted(before)
    named = tab.locator(HERE).locator("tbody .group").first
    expect(named).to_be_visible()  # every row names its model
    expect(tab.locator(HERE).locator(".block").first).to_be_hidden()

    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    down = [float(cell.get_attribute("data-order")) for cell in column(tab, HERE, "Accuracy")]
    assert down == orders[::-1]

    tab.keyboard.press("Enter")  # the button still has the focus; this restores the original order
    assert head.get_attribute("aria-sort") == "none"
    assert [cell.text_content() for cell in column(tab, HERE, "Accuracy")] == before


def test_unknown_values_are_last_in_both_orders(shown):
    tab = shown()
    against = "#table2 table.sortable >> nth=1"
    head = tab.locator(against).locator("thead th", has_text="Replayed").first
    for _ in range(2):
        head.locator("button").click()
        orders = [cell.get_attribute("data-order") for cell in column(tab, against, "Replayed")]
        assert orders == sorted(orders, key=lambda text: text == "")


def test_row_opens_a_dialog_with_its_run_ids(shown):
    tab = shown()
    tab.locator(HERE).locator("a.open").nth(1).click()  # linear, which misses one seed
    dialog = tab.get_by_role("dialog")
    expect(dialog).to_be_visible()
    words = dialog.text_content()
    here = [run for run in RUNS if run["cell"] == GONE["cell"]]
    assert len(here) == 5
    assert all(run["id"] in words for run in here)
    assert "missing" in words
    assert "from 4 paired seeds" in words
    tab.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_tables_pooled_over_cells_link_to_all_runs(shown):
    tab = shown()
    tab.get_by_role("link", name="The runs behind these numbers").first.click()
    expect(tab.locator("#table2 .dossier").last).to_be_visible()


def test_links_lead_to_the_runs_without_javascript(shown):
    tab = shown(script=False)
    link = tab.locator(HERE).locator("a.open").first
    assert RUNS[0]["id"] in tab.locator(link.get_attribute("href")).text_content()


def test_dark_scheme_is_dark_and_the_button_switches_it(shown):
    light, dark = shown(scheme="light"), shown(scheme="dark")
    assert brightness(light.evaluate(GROUND)) > 200
    assert brightness(dark.evaluate(GROUND)) < 50
    ink = "getComputedStyle(document.querySelector('figure svg')).fill"
    assert brightness(dark.evaluate(ink)) > 200  # text of the figures
    dark.get_by_role("button", name="Switch to light").click()
    assert brightness(dark.evaluate(GROUND)) > 200
    assert brightness(dark.evaluate(ink)) < 50


def test_print_is_black_on_white_without_screen_controls(shown):
    tab = shown(scheme="dark")
    tab.emulate_media(media="print", color_scheme="dark")
    assert brightness(tab.evaluate(GROUND)) > 250
    assert brightness(tab.evaluate("getComputedStyle(document.body).color")) < 50
    for name in (".contents", "#scheme", "a.open"):
        expect(tab.locator(name).first).to_be_hidden()
    expect(tab.locator("figure svg").first).to_be_visible()
    verdicts = tab.locator("td .chip")
    assert verdicts.count() > 5
    assert all(verdicts.nth(i).is_visible() for i in range(verdicts.count()))


def test_page_loads_nothing_from_the_network(file):
    text = file.read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)""", text)
    assert not re.findall(r"url\((?!#)", text)
    assert "@import" not in text
