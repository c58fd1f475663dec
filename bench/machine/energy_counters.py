"""Energy counters of this machine: NVML for a GPU, and RAPL for the CPU packages.

Each counter returns the joules since it was created. It also checks that only this process has used
the device. If a counter cannot be read, it raises NoEnergy with the reason.
"""

from __future__ import annotations

import importlib
import os
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

POWERCAP, STAT = Path("/sys/class/powercap"), Path("/proc/stat")
# A process has the CPU alone if the CPU time of all others is below this share of its own (or of
# the elapsed time, if that is longer), plus the resolution of the system's count.
OTHERS, RESOLUTION_S = 0.05, 0.05


class NoEnergy(Exception):
    """Raised if the energy of a run cannot be measured. The message is the reason."""


class EnergyCounter(Protocol):
    """Energy counter of a device."""

    def read(self) -> float:
        """Return the joules since the counter was created. Raises NoEnergy."""

    def check_alone(self) -> None:
        """Raise NoEnergy if another process has used the device since `restart`."""

    def restart(self) -> None:
        """Let `check_alone` ignore what other processes have done before this call."""


class RaplCounter:
    """Energy of all CPU packages, from Linux's powercap interface.

    The counter of a package restarts at zero when it reaches `max_energy_range_uj`, which takes
    20 minutes at 200 W. `read` must therefore be called more often than that. Source:
    https://docs.kernel.org/power/powercap/powercap.html
    """

    def __init__(self, root: Path = POWERCAP, stat: Path = STAT) -> None:
        self._packages = _find_packages(root)
        self._ranges = [_read_microjoules(p / "max_energy_range_uj") for p in self._packages]
        self._last = [_read_microjoules(package / "energy_uj") for package in self._packages]
        self._sum = 0
        self._load = _MachineLoad(stat)

    def read(self) -> float:
        """Return the joules since the counter was created. Raises NoEnergy."""
        now = [_read_microjoules(package / "energy_uj") for package in self._packages]
        for value, last, largest in zip(now, self._last, self._ranges, strict=True):
            self._sum += value - last + (largest if value < last else 0)
        self._last = now
        return self._sum / 1e6

    def check_alone(self) -> None:
        """Raise NoEnergy if other processes used more CPU time than a limit.

        The limit is the share OTHERS of this process's CPU time, or of the elapsed time if that is
        longer, plus RESOLUTION_S seconds.
        """
        others, own, elapsed = self._load.measure()
        if others > OTHERS * max(own, elapsed) + RESOLUTION_S:
            raise NoEnergy(
                f"other processes used {others:.1f} s of CPU time within {elapsed:.1f} s"
            )

    def restart(self) -> None:
        """Let `check_alone` ignore what other processes have done before this call."""
        self._load.restart()


class NvmlCounter:
    """Energy of a GPU, from NVML's counter (Volta and newer, in millijoules).

    uuid: UUID of the GPU, with the prefix "GPU-".
    nvml: the module pynvml, or one that replays recorded values; None imports pynvml.
    """

    def __init__(self, uuid: str, nvml: ModuleType | None = None) -> None:
        self._nvml = nvml or _import_nvml()
        self._call("nvmlInit")
        self._handle = self._call("nvmlDeviceGetHandleByUUID", uuid)
        self._first = self._last = self._read_millijoules()

    def read(self) -> float:
        """Return the joules since the counter was created. Raises NoEnergy."""
        now = self._read_millijoules()
        if now < self._last:
            raise NoEnergy("the GPU's energy counter restarted")
        self._last = now
        return (now - self._first) / 1e3

    def check_alone(self) -> None:
        """Raise NoEnergy unless exactly one process has a context on the GPU."""
        running = {
            process.pid
            for ask in (
                "nvmlDeviceGetComputeRunningProcesses",
                "nvmlDeviceGetGraphicsRunningProcesses",
            )
            for process in self._call(ask, self._handle)
        }
        if len(running) > 1:
            raise NoEnergy(f"{len(running)} processes used the GPU")
        if not running:  # in some containers, the driver shows no process
            raise NoEnergy("NVML does not list the processes on the GPU")

    def restart(self) -> None:
        """Do nothing, because NVML shows only the processes that use the GPU now."""

    def _read_millijoules(self) -> int:
        return int(self._call("nvmlDeviceGetTotalEnergyConsumption", self._handle))

    def _call(self, name: str, *arguments: object) -> Any:
        """Call a function of NVML. Raises NoEnergy if it fails."""
        try:
            return getattr(self._nvml, name)(*arguments)
        except self._nvml.NVMLError as error:
            raise NoEnergy(f"NVML: {error}") from None


def _import_nvml() -> ModuleType:
    try:
        return importlib.import_module("pynvml")
    except ImportError:  # some GPU machines have only the packages that training needs
        raise NoEnergy("nvidia-ml-py is not installed") from None


class _MachineLoad:
    """CPU times since `restart`: of this process with its descendants, and of the others."""

    def __init__(self, stat: Path) -> None:
        self._stat = stat
        self.restart()

    def restart(self) -> None:
        self._from = self._read()

    def measure(self) -> tuple[float, float, float]:
        """Return the CPU seconds of other processes and of this process, and the elapsed seconds.

        Descendants of this process, such as data workers, count as this process.
        """
        all_now, own_now, now = self._read()
        whole, own, elapsed = (
            later - earlier
            for later, earlier in zip((all_now, own_now, now), self._from, strict=True)
        )
        return max(0.0, whole - own), own, elapsed

    def _read(self) -> tuple[float, float, float]:
        try:
            fields = self._stat.read_text().split("\n", 1)[0].split()
        except OSError as error:
            raise NoEnergy(f"{self._stat}: {error.strerror}") from None
        # proc_stat(5): user, nice, system, idle, iowait, irq, softirq, in ticks.
        user, nice, system, _, _, irq, softirq = (int(field) for field in fields[1:8])
        ticks = user + nice + system + irq + softirq
        # The living first: a child that ends in between counts twice here, rather than as another.
        own = _read_descendants(self._stat.parent)
        ended = os.times()
        own += time.process_time() + ended.children_user + ended.children_system
        return ticks / os.sysconf("SC_CLK_TCK"), own, time.monotonic()


def _read_descendants(proc: Path) -> float:
    """Return the CPU seconds of all descendants of this process that are alive.

    The time of a descendant includes that of its children that have ended.
    """
    children: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for folder in proc.iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # the process has ended
                # proc_pid_stat(5), after the name: state, parent, …; 14 to 17 are user and system
                # ticks of the process and of its ended children.
                fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
                ticks = sum(int(field) for field in fields[11:15])
                children[int(fields[1])].append((int(folder.name), ticks))
    todo, total = [os.getpid()], 0
    while todo:
        for process, ticks in children[todo.pop()]:
            todo.append(process)
            total += ticks
    return total / os.sysconf("SC_CLK_TCK")


def _find_packages(root: Path) -> list[Path]:
    """Return the folder of each CPU package. Raises NoEnergy if there is none.

    A package can appear twice, because it has a register (intel-rapl) and a memory-mapped interface
    (intel-rapl-mmio). Subzones, such as cores and memory, have two colons in their names.
    """
    found: dict[str, Path] = {}
    for zone in sorted(root.glob("intel-rapl*:*")):
        name = zone / "name"
        if zone.name.count(":") == 1 and name.exists():
            text = name.read_text().strip()
            if text.startswith("package"):
                found.setdefault(text, zone)
    if not found:
        raise NoEnergy(f"{root} has no counter of a CPU package")
    return list(found.values())


def _read_microjoules(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NoEnergy(f"{path}: {reason}") from None
