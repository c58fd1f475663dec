"""Pytest plugin that writes each outcome immediately, so that a time limit loses none.

`python -m pytest -p tests.support.outcomes` appends lines of "OUTCOME<tab>TEST" to the file that
FREEZEBENCH_OUTCOMES names. Each collected test first gets a line with the outcome "collected".
Tracebacks go to the file with the same name and the suffix ".failures".
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _append(outcome: str, tests: list[str]) -> None:
    with Path(os.environ["FREEZEBENCH_OUTCOMES"]).open("a") as file:
        file.writelines(f"{outcome}\t{test}\n" for test in tests)


def pytest_configure(config: pytest.Config) -> None:
    """Register the outcome writer in the main process, not in xdist workers.

    An environment variable cannot identify workers, because a pytest process that a test starts
    inherits it.
    """
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(OutcomeWriter())


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write the collected tests, in the main process or in the first xdist worker."""
    worker = getattr(session.config, "workerinput", None)
    if worker is None or worker["workerid"] == "gw0":
        _append("collected", [item.nodeid for item in session.items])


class OutcomeWriter:
    """Plugin that writes the outcome of each test when it ends."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write the outcome of a test, and its traceback if it failed."""
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
