"""Energy of a run, in joules, between its first and its last training step.

Each counter is read at the start and at the end of training. A thread also reads it every SAMPLE_S
seconds, because RAPL's counters restart at zero after some minutes. The training loop itself reads
them only for a checkpoint. Energy is reported only if this process had the device alone. The idle
power before the run is reported too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bench.machine.energy_counters import EnergyCounter, NoEnergy, NvmlCounter, RaplCounter

if TYPE_CHECKING:
    import torch

SAMPLE_S = 30.0
BUSY_CHECK_S, IDLE_S = 0.1, 1.0  # how long the device is watched before a run
SEVERAL = "several processes share this run"


class EnergyMeter:
    """Energy of one run on each of its devices.

    openers: for each device ("gpu", "cpu"), a function that opens its energy counter.
    shared: the reason why no energy can be measured, or "".
    """

    def __init__(
        self, openers: Mapping[str, Callable[[], EnergyCounter]], shared: str = ""
    ) -> None:
        self._devices = {name: _DeviceEnergy(opener, shared) for name, opener in openers.items()}

    @contextmanager
    def measure(self, sample_s: float = SAMPLE_S) -> Iterator[None]:
        """Measure the idle power, then the energy inside the block."""
        for device in self._devices.values():
            device.begin()
        for device in self._devices.values():
            device.start()
        measured = [device for device in self._devices.values() if not device.why]
        ended = threading.Event()

        def sample() -> None:
            while not ended.wait(sample_s):
                for device in measured:
                    device.sample()

        sampler = threading.Thread(target=sample, name="energy", daemon=True)
        if measured:
            sampler.start()
        try:
            yield
        finally:
            ended.set()
            if measured:
                sampler.join()
            for device in measured:
                device.end()

    def read(self) -> dict[str, dict[str, Any]]:
        """Return `joules`, `idle_watts` and `why` of each device.

        If the energy is unknown, joules is None and `why` gives the reason.
        """
        return {name: device.read() for name, device in self._devices.items()}

    def restore(self, before: Mapping[str, Mapping[str, Any]] | None) -> None:
        """Add the energy that `read` returned in an earlier, interrupted part of the run.

        before: None if that part recorded no energy.
        """
        for name, device in self._devices.items():
            device.restore((before or {}).get(name))


def open_meter(device: torch.device, processes: int) -> EnergyMeter:
    """Return the meter of a run: the CPU packages, and on CUDA also its GPU.

    processes: number of processes that share the run.
    """
    openers: dict[str, Callable[[], EnergyCounter]] = {"cpu": RaplCounter}
    if device.type == "cuda":
        import torch

        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        openers["gpu"] = lambda: NvmlCounter(uuid)
    return EnergyMeter(openers, SEVERAL if processes > 1 else "")


class _DeviceEnergy:
    """Energy of one device. why: the reason why the energy is unknown, or ""."""

    def __init__(self, opener: Callable[[], EnergyCounter], shared: str) -> None:
        self._opener, self.why = opener, shared
        self._counter: EnergyCounter | None = None
        self._before = self._joules = 0.0  # of earlier parts of the run, and of this part
        self._zero = 0.0  # reading of the counter at the first step of this part
        self._idle_watts: float | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Open the counter and measure the idle power."""
        if self.why:
            return
        with self._explain():
            counter = self._opener()
            for seconds in (BUSY_CHECK_S, IDLE_S):  # 0.1 s shows that a machine is busy
                counter.restart()
                since, joules = time.perf_counter(), counter.read()
                time.sleep(seconds)
                watts = (counter.read() - joules) / (time.perf_counter() - since)
                counter.check_alone()
            self._idle_watts = watts
            self._counter = counter

    def start(self) -> None:
        """Read the counter before the first step. All devices have been watched by then."""
        with self._explain():
            if self._counter and not self.why:
                self._counter.restart()
                self._zero = self._counter.read()

    def sample(self) -> None:
        """Read the counter while the run trains."""
        with self._lock, self._explain():
            if self._counter and not self.why:
                self._joules = self._counter.read() - self._zero
                self._counter.check_alone()

    def end(self) -> None:
        """Read the counter for the last time, and close it."""
        self.sample()
        self._counter = None

    def read(self) -> dict[str, Any]:
        """Return `joules`, `idle_watts` and `why`."""
        self.sample()
        known = self._idle_watts is not None and not self.why
        joules = self._before + self._joules if known else None
        return {"joules": joules, "idle_watts": self._idle_watts, "why": self.why}

    def restore(self, before: Mapping[str, Any] | None) -> None:
        """Add the energy of an earlier part of the run.

        The energy is unknown if `before` is None or holds no energy.
        """
        if before is None or before["joules"] is None:
            self.why = self.why or "the energy before the interruption is unknown"
        else:
            self._before = before["joules"]

    @contextmanager
    def _explain(self) -> Iterator[None]:
        try:
            yield
        except NoEnergy as error:
            self.why = str(error)
