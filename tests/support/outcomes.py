"""Pytest plugin that writes the outcome of each test at once, so that a time limit loses none.

`python -m pytest -p tests.support.outcomes` appends lines of "OUTCOME<tab>TEST" to the file that
FREEZEBENCH_OUTCOMES names. Every collected test gets a line "collected" first. Tracebacks go to a
file of the same name with ".failures" behind it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _append(outcome: str, tests: list[str]) -> None:
    with Path(os.environ["FREEZEBENCH_OUTCOMES"]).open("a") as file:
        file.writelines(f"{outcome}\t{test}\n" for test in tests)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write the collected tests; of several xdist workers the first one does."""
    worker = getattr(session.config, "workerinput", None)
    if worker is None or worker["workerid"] == "gw0":
        _append("collected", [item.nodeid for item in session.items])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write how a test ended, in the process that prints the reports."""
    if "PYTEST_XDIST_WORKER" not in os.environ and (report.when == "call" or not report.passed):
        _append(report.outcome, [report.nodeid])
        if report.failed:
            with Path(f"{os.environ['FREEZEBENCH_OUTCOMES']}.failures").open("a") as file:
                file.write(f"{report.nodeid}\n{report.longreprtext}\n\n")


def read_outcomes(file: Path) -> dict[str, str]:
    """Return the outcome of every test: "passed", "failed", "skipped" or "not run"."""
    lines = file.read_text().splitlines() if file.exists() else []
    found: dict[str, str] = {}
    for line in lines:
        outcome, _, test = line.partition("\t")
        if outcome == "collected":
            found.setdefault(test, "not run")
        elif found.get(test) != "failed":
            found[test] = outcome
    return found
