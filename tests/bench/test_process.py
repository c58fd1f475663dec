"""What is set for a process before it makes a run."""

import subprocess
import sys

import pytest

# Passes through layers of 64 MiB, whose gradients are freed after each; prints the page faults of
# all but the first.
PASSES = """
import resource, torch
from bench.process import keep_freed_memory
if {kept}:
    keep_freed_memory()
net = torch.nn.Sequential(*[torch.nn.Linear(4096, 4096) for _ in range(2)])
faults = []
for _ in range(6):
    net(torch.ones(2, 4096)).sum().backward()
    net.zero_grad(set_to_none=True)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is set, no other")
def test_memory_that_was_freed_is_used_again() -> None:
    def faults(kept: bool) -> int:
        command = [sys.executable, "-c", PASSES.format(kept=kept)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)

    pages = 5 * 2 * 4096 * 4096 * 4 // 4096  # of five passes' gradients
    assert faults(kept=True) < 0.4 * pages < 0.9 * pages < faults(kept=False)
