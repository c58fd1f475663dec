"""Tests of the process settings of a run."""

import subprocess
import sys

import pytest
import torch

from bench.machine.torch_settings import disable_tf32, set_up_process
from tests.support.tiny_runs import make_tiny_spec

# Runs training passes through layers of 64 MiB and frees the gradients after each pass. Prints the
# number of page faults of all passes but the first.
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


@pytest.mark.skipif(sys.platform != "linux", reason="the setting exists only in glibc")
def test_freed_memory_is_reused() -> None:
    def faults(kept: bool) -> int:
        command = [sys.executable, "-c", PASSES.format(kept=kept)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)

    pages = 5 * 2 * 4096 * 4096 * 4 // 4096  # pages of the gradients of five passes
    # The remaining heap growth depends on fragmentation.
    assert faults(kept=True) < 0.6 * pages < 0.9 * pages < faults(kept=False)


def test_disable_tf32_restores_previous_settings() -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    try:
        cudnn.allow_tf32, matmul.allow_tf32 = True, False
        with disable_tf32():
            assert (cudnn.allow_tf32, matmul.allow_tf32) == (False, False)
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (True, False)
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def test_set_up_process_resets_settings_of_an_earlier_run() -> None:
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
