"""Tests of the page at the width of a phone: every table that overflows has a scroll hint."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

FRAMES = """frames => frames.filter(f => f.offsetParent).map(f => ({
  name: f.ariaLabel || f.closest("[id]").id,
  wide: f.scrollWidth > f.clientWidth + 1,
  hint: f.querySelector(".hint").offsetParent !== null,
}))"""
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
LOOSE = """[...document.querySelectorAll("table, figure svg")].filter(t => t.offsetParent
  && !t.closest(".scroll") && t.scrollWidth > t.parentElement.clientWidth + 1).length"""


def read_frames(tab, selector=".scroll", script=True):
    if script:
        tab.evaluate(DRAWN)  # a ResizeObserver reports after the layout
    return tab.eval_on_selector_all(selector, FRAMES)


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_exactly_the_tables_that_overflow_have_a_scroll_hint(shown, width):
    tab = shown(width)
    for summary in tab.locator("main summary").all():
        summary.click()
    frames = read_frames(tab)
    assert len(frames) > 10
    assert [f["name"] for f in frames if f["wide"] != f["hint"]] == []
    assert any(f["wide"] for f in frames) or width > 390
    assert tab.evaluate(LOOSE) == 0


def test_hint_stays_in_view_while_the_table_scrolls(shown):
    tab = shown(390)
    frame = tab.locator("#table2 .scroll").first
    before = frame.locator(".hint").bounding_box()
    frame.evaluate("f => { f.scrollLeft = 200 }")
    assert frame.locator(".hint").bounding_box()["x"] == before["x"]


def test_hint_appears_when_a_filter_or_the_window_makes_a_table_wide(shown):
    tab = shown(1280)
    assert not read_frames(tab, "#answer .scroll")[0]["hint"]
    tab.set_viewport_size({"width": 390, "height": 800})
    assert read_frames(tab, "#answer .scroll")[0]["hint"]


def test_dialogs_fit_a_phone_and_have_hints_too(shown):
    tab = shown(390)
    tab.locator("#table2 a.open").nth(1).click()
    frames = read_frames(tab, "dialog[open] .scroll")
    assert frames
    assert all(f["wide"] == f["hint"] for f in frames)
    box = tab.get_by_role("dialog").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    tab.keyboard.press("Escape")
    tab.get_by_role("button", name="Compare two cells").click()
    assert tab.get_by_role("dialog").evaluate("d => d.scrollWidth <= d.clientWidth")
    assert all(f["wide"] == f["hint"] for f in read_frames(tab, "dialog[open] .scroll"))


def test_without_javascript_narrow_screens_always_show_the_hints(shown):
    frames = read_frames(shown(390, script=False), script=False)
    assert frames
    assert all(f["hint"] for f in frames)


def test_filters_and_contents_are_closed_until_asked_for(shown):
    tab = shown(390)
    expect(tab.locator("#filters input").first).to_be_hidden()
    tab.locator("#filters summary").click()
    expect(tab.locator("#filters input").first).to_be_visible()
    assert tab.locator("#filters input").last.bounding_box()["x"] < 390
