"""Configuration of the whole test suite."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from multiprocessing.util import Finalize

import pytest
import torch
from hypothesis import HealthCheck, settings

# No deadline, because a shared machine may stall at any time. Hypothesis draws new examples in each
# run, except in CI, where every run uses the same examples.
settings.register_profile(
    "laws",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("laws")
torch.set_num_threads(1)

# Folders of tests that need Slurm (`make slurm-test`), a browser (`make page-test`) or several
# minutes (`make docs-test`, `make wheel-test`), with the environment variable that enables each.
NEEDS = {
    "slurm": "FREEZEBENCH_SLURM",
    "page": "FREEZEBENCH_BROWSER",
    "docs": "FREEZEBENCH_DOCS",
    "wheel": "FREEZEBENCH_WHEEL",
}
collect_ignore = [folder for folder, name in NEEDS.items() if name not in os.environ]


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_files() -> Iterator[None]:
    """Put all temporary files into one folder and delete it after the tests.

    This also deletes the files of killed processes.
    """
    place = tempfile.mkdtemp(prefix="freezebench-tests-")
    # multiprocessing removes its own folder in there first, with exit priority -100.
    Finalize(None, shutil.rmtree, (place,), {"ignore_errors": True}, exitpriority=-200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", place)
        patch.setattr(tempfile, "tempdir", place)
        yield
