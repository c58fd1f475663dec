"""What is set for a process before it makes a run."""

import subprocess
import sys

import pytest

# Fills 64 MiB twice, the second time in what the first gave back, and prints the page faults.
TWICE = """
import resource, torch
from bench.process import keep_freed_memory
if {kept}:
    keep_freed_memory()
torch.ones(1 << 24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(1 << 24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is set, no other")
def test_memory_that_was_freed_is_not_mapped_anew() -> None:
    def faults(kept: bool) -> int:
        command = [sys.executable, "-c", TWICE.format(kept=kept)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults(kept=True) < 100 < 10_000 < faults(kept=False)
