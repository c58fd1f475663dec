"""Fixtures for the tests of the page: a page of synthetic runs, and a browser without network."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from reports.document.profile import Profile
from reports.document.report import Report
from reports.page.page import render_page as page_of
from reports.publishing.build import build_report
from reports.runs.run_table import Reader
from tests.support.page_results import GONE, RUNS
from tests.support.synthetic_results import PROFILE, write_run


@pytest.fixture(scope="session")
def table2(tmp_path_factory: pytest.TempPathFactory) -> Report:
    results = tmp_path_factory.mktemp("results")
    for run in RUNS:
        write_run(results, run)
    shutil.rmtree(results / "runs" / GONE["id"])
    return build_report("table2", RUNS, Reader(results), PROFILE)


@pytest.fixture(scope="session")
def file(table2: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of the page."""
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(page_of([(table2, Profile.of(PROFILE))]))
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as play:
        made = play.chromium.launch(executable_path=os.environ["FREEZEBENCH_BROWSER"], args=options)
        yield made
        made.close()


@pytest.fixture
def shown(browser: Browser, file: Path) -> Iterator[Callable[..., Page]]:
    """Return a function that opens the page.

    Its arguments are the width of the screen in pixels, the colour scheme, and whether JavaScript
    is enabled. At the end, check that there were no console messages and no network requests.
    """
    contexts, troubles, requests = [], [], []

    def opened(
        width: int = 1280, scheme: Literal["light", "dark"] = "light", script: bool = True
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            java_script_enabled=script,
        )
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: troubles.append(message.text))
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(file.as_uri())
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []
    assert [url for url in requests if not url.startswith("data:")] == [file.as_uri()] * len(
        contexts
    )
