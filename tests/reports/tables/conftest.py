"""Folders with synthetic results of the runs of a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.synthetic_results import write_run
from tests.support.table2_results import RUNS
from tests.support.table_results import TableResults


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for run in RUNS:
        write_run(tmp_path, run)
    return tmp_path


@pytest.fixture
def made(request: pytest.FixtureRequest, tmp_path: Path) -> TableResults:
    return TableResults(request.param, tmp_path)
