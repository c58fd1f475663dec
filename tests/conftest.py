"""How the whole suite runs."""

import os
import tempfile
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

# A shared machine may stall at any moment: what counts is what a law says, not how long it takes.
settings.register_profile("laws", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("laws")
torch.set_num_threads(1)

# They need a cluster (`make slurm-test`) and a browser (`make page-test`).
NEEDS = {"slurm": "FREEZEBENCH_SLURM", "page": "FREEZEBENCH_BROWSER"}
collect_ignore = [folder for folder, name in NEEDS.items() if name not in os.environ]


@pytest.fixture(scope="session", autouse=True)
def _own_temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What killed processes leave behind goes with the tests' own files, not into /tmp for good."""
    place = str(tmp_path_factory.mktemp("tmp"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", place)
        patch.setattr(tempfile, "tempdir", place)
        yield
