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


def pytest_configure(config: pytest.Config) -> None:
    """Register the writer of outcomes in the process that prints the reports.

    The environment does not tell: a pytest that a test starts inherits an xdist worker's.
    """
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(OutcomeWriter())


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write the collected tests; of several xdist workers the first one does."""
    worker = getattr(session.config, "workerinput", None)
    if worker is None or worker["workerid"] == "gw0":
        _append("collected", [item.nodeid for item in session.items])


class OutcomeWriter:
    """Writes how each test ended, as soon as it is known."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the outcome, and the traceback of a failure."""
        if report.when != "call" and report.passed:
            return
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
