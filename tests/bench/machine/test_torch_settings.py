"""What is set for a process before it makes a run."""

import subprocess
import sys

import pytest
import torch

from bench.machine.torch_settings import disable_tf32, set_up_process
from tests.support.tiny_runs import make_tiny_spec

# Passes through layers of 64 MiB, whose gradients are freed after each; prints the page faults of
# all but the first.
PASSES = """
import resource, torch
from bench.machine.torch_settings import keep_freed_memory
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
    # How much the heap still grows depends on where blocks happen to lie.
    assert faults(kept=True) < 0.6 * pages < 0.9 * pages < faults(kept=False)


def test_tf32_is_off_for_a_while_and_then_as_before() -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    try:
        cudnn.allow_tf32, matmul.allow_tf32 = True, False
        with disable_tf32():
            assert (cudnn.allow_tf32, matmul.allow_tf32) == (False, False)
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (True, False)
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def test_what_a_strategy_set_for_its_process_does_not_reach_the_next_run() -> None:
    def settings() -> list[object]:
        return [
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.mkldnn.enabled,
        ]

    set_up_process(make_tiny_spec())
    before = settings()
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.backends.mkldnn.enabled = False
    try:
        assert not set(map(str, settings())) <= set(map(str, before))
    finally:
        set_up_process(make_tiny_spec())
    assert settings() == before
