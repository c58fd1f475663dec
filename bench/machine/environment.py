"""Environment of a run: code version, package versions, machine and load."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.files import PROJECT
from bench.revisions import RESULTS_VERSION
from bench.spec import Spec

if TYPE_CHECKING:
    import torch

RECORDED_COMMIT = "COMMIT"  # file with the commit, in a copy of the code without .git
PACKAGES = ("torch", "torchvision", "timm", "transformers", "fvcore")


def describe_environment(spec: Spec, device: torch.device) -> dict[str, Any]:
    """Return facts about the machine and the process settings of a run, as plain values."""
    import torch

    return {
        "results_version": RESULTS_VERSION,
        **describe_machine(device),
        "threads": spec.threads,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
    }


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return commit, versions, device and load of this machine, as plain values."""
    import torch

    return {
        "commit": get_commit(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "device": get_device_name(device),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "driver": _get_driver_version() if device.type == "cuda" else None,
        "device_bytes_in_use": _measure_used_bytes(device) if device.type == "cuda" else None,
        "host": platform.node(),
        "cores": count_cores(),
        "load_at_start": os.getloadavg()[0],
    }


def count_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=8)
def get_device_name(device: torch.device) -> str:
    """Return the product name of a device; for a CPU, also the vector instructions in use.

    Speed and rounding depend on these instructions, and two CPUs of one name may differ in them.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_get_cpu_name()} ({torch.backends.cpu.get_cpu_capability()})"


def _get_cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@lru_cache(maxsize=1)
def get_commit() -> str:
    """Return the commit of the running code, with '+' if tracked files differ; '' outside git."""
    # A copy of the code can be inside another checkout that is at a newer commit.
    if (PROJECT / RECORDED_COMMIT).exists():
        return (PROJECT / RECORDED_COMMIT).read_text().strip()
    try:
        # If the code is installed in another project's environment, PROJECT can be inside that
        # project's repository. ls-files fails then.
        _run_git(PROJECT, "ls-files", "--error-unmatch", str(Path(__file__).resolve()))
        head = _run_git(PROJECT, "rev-parse", "HEAD")
        changed = _run_git(PROJECT, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return head[:12] + ("+" if changed else "")


@lru_cache(maxsize=1)
def _get_driver_version() -> str | None:
    """Return the version of the NVIDIA driver, or None if nvidia-smi fails."""
    ask = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _measure_used_bytes(device: torch.device) -> int:
    """Return the bytes of GPU memory in use by all processes.

    The bytes include this process's own CUDA context, and the memory that PyTorch has allocated
    so far. This memory may hold the model and the data.
    """
    import torch

    free, whole = torch.cuda.mem_get_info(device)
    return whole - free


def _run_git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
