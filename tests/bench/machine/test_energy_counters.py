"""Tests of the energy counters, fed with recorded counter files and NVML values."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen
from types import ModuleType, SimpleNamespace

import pytest

from bench.machine.energy_counters import STAT, NoEnergy, NvmlCounter, RaplCounter, _MachineLoad

RANGE = 262_143_328_850  # max_energy_range_uj of a desktop CPU
TICKS = os.sysconf("SC_CLK_TCK")


class Machine:
    """Counter files of a machine in a folder, in the layout of /sys/class/powercap and /proc."""

    def __init__(self, folder):
        self.root, self.stat = folder / "powercap", folder / "stat"
        self.zone("intel-rapl", "intel-rapl")  # the control type has no energy
        self.set_busy(0)

    def zone(self, name, text, energy=None, largest=RANGE):
        zone = self.root / name
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "name").write_text(f"{text}\n")
        if energy is not None:
            (zone / "energy_uj").write_text(f"{energy}\n")
            (zone / "max_energy_range_uj").write_text(f"{largest}\n")

    def set_busy(self, seconds):
        """Set the CPU time of the whole machine since its start, in seconds."""
        user = round(seconds * TICKS)
        self.stat.write_text(f"cpu  {user} 0 0 99999 88888 0 0 0 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n")

    def set_process(self, pid, parent, seconds, waited=0.0):
        """Set the CPU time of a process and that of its ended children (`waited`), in seconds."""
        folder = self.stat.parent / str(pid)
        folder.mkdir(exist_ok=True)
        user, ended = round(seconds * TICKS), round(waited * TICKS)
        start = f"{pid} (a) b (c) S {parent} 1 1 0 -1 4194304 0 0 0 0"
        (folder / "stat").write_text(f"{start} {user - 1} 1 {ended - 1} 1 20 0 1 0 99999 0 0\n")

    def counter(self):
        return RaplCounter(self.root, self.stat)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_packages_are_summed_and_their_parts_and_doubles_are_not(machine):
    machine.zone("intel-rapl:0", "package-0", 1_000_000)
    machine.zone("intel-rapl:1", "package-1", 5_000_000)
    machine.zone("intel-rapl:0:0", "core", 1_000_000)
    machine.zone("intel-rapl:2", "psys", 1_000_000)
    machine.zone("intel-rapl-mmio:0", "package-0", 1_000_000)
    counter = machine.counter()
    assert counter.read() == 0
    for zone in machine.root.glob("*:*"):
        (zone / "energy_uj").write_text("9000000")
    assert counter.read() == pytest.approx(8 + 4)


def test_a_counter_that_restarts_at_zero_loses_nothing(machine):
    machine.zone("intel-rapl:0", "package-0", RANGE - 2_000_000)
    counter = machine.counter()
    for energy, joules in (
        (RANGE - 1_000_000, 1),
        (500_000, 2.5),
        (RANGE - 500_000, None),
        (0, None),
    ):
        machine.zone("intel-rapl:0", "package-0", energy)
        found = counter.read()
        assert joules is None or found == pytest.approx(joules)
    assert found == pytest.approx(2 + RANGE / 1e6)


def test_counters_that_are_missing_or_unreadable_are_named(machine, tmp_path):
    with pytest.raises(NoEnergy, match="no counter of a CPU package"):
        machine.counter()
    machine.zone("intel-rapl:0", "package-0", "not a number")
    with pytest.raises(NoEnergy, match=r"energy_uj"):
        machine.counter()
    (machine.root / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(NoEnergy, match=r"energy_uj: No such file"):
        machine.counter()


def test_cpu_time_of_others_decides_whether_the_package_was_used_alone(machine, monkeypatch):
    machine.zone("intel-rapl:0", "package-0", 0)
    clock, own = 100.0, 7.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    monkeypatch.setattr(time, "process_time", lambda: own)
    counter = machine.counter()
    clock, own = 110.0, 17.0
    machine.set_busy(10 + 0.4)  # others: 4 % of this process
    counter.check_alone()
    machine.set_busy(10 + 0.7)
    with pytest.raises(NoEnergy, match=r"other processes used 0\.7 s of CPU time within 10\.0 s"):
        counter.check_alone()
    counter.restart()
    counter.check_alone()


def test_living_descendants_of_a_run_are_no_other_processes(machine):
    """Count the CPU time of living data workers as that of the run.

    Data workers live for an epoch. os.times() contains their time only after that.
    """
    machine.zone("intel-rapl:0", "package-0", 0)
    machine.set_process(900_001, os.getpid(), 100, 1)
    counter = machine.counter()
    machine.set_process(900_001, os.getpid(), 140, 11)
    machine.set_process(900_002, 900_001, 30)
    machine.set_busy(40 + 10 + 30)
    counter.check_alone()
    machine.set_process(900_002, 1, 30)  # of another run
    with pytest.raises(NoEnergy, match=r"other processes used 30\.. s of CPU time within"):
        counter.check_alone()


def test_the_cpu_time_of_a_run_contains_that_of_a_child_that_is_alive():
    burn = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True); input()"
    load = _MachineLoad(STAT)
    command = [sys.executable, "-c", burn]
    with Popen(command, stdin=PIPE, stdout=PIPE) as child:
        child.stdout.readline()
        _, alive, _ = load.measure()
        child.communicate(b"\n")
    assert alive > 0.4
    assert load.measure()[1] == pytest.approx(alive, abs=0.3)


class RecordedNvml(ModuleType):
    """Recorded answers of NVML. energy: millijoules, one for each reading."""

    class NVMLError(Exception):
        pass

    def __init__(self, energy, compute=(1,), graphics=()):
        super().__init__("pynvml")
        self.energy, self.compute, self.graphics = iter(energy), compute, graphics

    # The methods have the names of NVML's functions.
    def nvmlInit(self):  # noqa: N802
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        if uuid != "GPU-1":
            raise self.NVMLError("Not Found")
        return "handle"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        return next(self.energy)

    def nvmlDeviceGetComputeRunningProcesses(self, handle):  # noqa: N802
        return [SimpleNamespace(pid=pid) for pid in self.compute]

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle):  # noqa: N802
        return [SimpleNamespace(pid=pid) for pid in self.graphics]


def test_gpu_counter_returns_joules_since_it_was_opened():
    counter = NvmlCounter("GPU-1", RecordedNvml([5_000_000, 5_000_500, 5_123_000]))
    assert [counter.read(), counter.read()] == [0.5, 123.0]


def test_a_gpu_counter_that_restarted_and_an_unknown_gpu_have_no_energy():
    counter = NvmlCounter("GPU-1", RecordedNvml([5_000, 100]))
    with pytest.raises(NoEnergy, match="restarted"):
        counter.read()
    with pytest.raises(NoEnergy, match="NVML: Not Found"):
        NvmlCounter("GPU-2", RecordedNvml([0]))


@pytest.mark.parametrize(
    ("compute", "graphics", "why"),
    [([7], [], ""), ([7], [7], ""), ([7, 8], [], "2 processes"), ([7], [9], "2 processes"),
     ([], [], "does not list")],
)  # fmt: skip
def test_a_gpu_is_used_alone_if_it_has_one_process(compute, graphics, why):
    counter = NvmlCounter("GPU-1", RecordedNvml([0], compute, graphics))
    if not why:
        counter.check_alone()
        return
    with pytest.raises(NoEnergy, match=why):
        counter.check_alone()


def test_a_machine_without_nvml_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)  # importing it raises ImportError
    with pytest.raises(NoEnergy, match="nvidia-ml-py is not installed"):
        NvmlCounter("GPU-1")
    monkeypatch.undo()
    if Path("/dev/nvidiactl").exists():
        pytest.skip("this machine has NVML")
    with pytest.raises(NoEnergy, match="NVML: "):
        NvmlCounter("GPU-1")
