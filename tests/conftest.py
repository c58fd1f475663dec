"""How the whole suite runs."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from multiprocessing.util import Finalize

import pytest
import torch
from hypothesis import HealthCheck, settings

# A shared machine may stall at any moment: what counts is what a law says, not how long it takes.
# Laws are held against other cases at each run, but for CI, which judges a change by the same ones
# each time (Hypothesis's own habit there).
settings.register_profile(
    "laws",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("laws")
torch.set_num_threads(1)

# They need a cluster (`make slurm-test`), a browser (`make page-test`) or minutes (`make docs-test`).
NEEDS = {"slurm": "FREEZEBENCH_SLURM", "page": "FREEZEBENCH_BROWSER", "docs": "FREEZEBENCH_DOCS"}
collect_ignore = [folder for folder, name in NEEDS.items() if name not in os.environ]


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_files() -> Iterator[None]:
    """What killed processes leave behind goes when the tests end, and does not stay in /tmp."""
    place = tempfile.mkdtemp(prefix="freezebench-tests-")
    # After multiprocessing has removed its own folder, of priority -100, from there.
    Finalize(None, shutil.rmtree, (place,), {"ignore_errors": True}, exitpriority=-200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", place)
        patch.setattr(tempfile, "tempdir", place)
        yield
