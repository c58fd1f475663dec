"""Tests of the energy of a run: idle power, wrap-around, sharing and interruptions."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from bench.costs import energy
from bench.costs.energy import EnergyMeter
from bench.errors import Stopped
from bench.machine.energy_counters import NoEnergy, RaplCounter
from bench.results.comparison import read_reproducible
from bench.training import run_state
from bench.training.loop import execute
from tests.support.tiny_runs import make_tiny_spec

TINY = make_tiny_spec()

RANGE = 50_000_000  # a small counter, which restarts at zero after 50 J


class Recorded:
    """Counter that replays readings in joules. `alone`: whether the device is used alone."""

    def __init__(self, *joules, alone=True):
        self.joules, self.alone, self.checks = list(joules), alone, 0

    def read(self):
        return self.joules.pop(0) if len(self.joules) > 1 else self.joules[0]

    def check_alone(self):
        self.checks += 1
        if not self.alone:
            raise NoEnergy("another process used it")

    def restart(self):
        pass


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(energy, "BUSY_CHECK_S", 0.001)
    monkeypatch.setattr(energy, "IDLE_S", 0.01)


def test_energy_is_that_between_first_and_last_step_and_idle_power_is_shown():
    # Glance: 0 to 0. Idle: 0 to 1 J. Start at 3 J, end at 10 J.
    meter = EnergyMeter({"cpu": lambda: Recorded(0, 0, 0, 1, 3, 10)})
    with meter.measure():
        pass
    found = meter.read()["cpu"]
    assert found["joules"] == 7
    assert 1 / 0.02 < found["idle_watts"] <= 1 / 0.01
    assert found["why"] == ""


def test_no_device_counts_the_time_in_which_another_is_watched(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(energy.time, "sleep", lambda seconds: clock.__setitem__(0, clock[0] + 1))

    class Constant(Recorded):
        def read(self):
            return 100 * clock[0]  # watts

    meter = EnergyMeter({"cpu": lambda: Constant(0), "gpu": lambda: Constant(0)})
    with meter.measure():
        clock[0] += 1
    assert {name: device["joules"] for name, device in meter.read().items()} == {
        "cpu": 100,
        "gpu": 100,
    }


def test_a_device_that_others_use_has_no_energy():
    for shared in (Recorded(0, alone=False), Recorded(0)):
        meter = EnergyMeter({"cpu": lambda counter=shared: counter})
        with meter.measure():
            shared.alone = False
        assert meter.read()["cpu"]["joules"] is None
        assert meter.read()["cpu"]["why"] == "another process used it"


def test_a_busy_device_is_recognised_at_a_glance():
    counter = Recorded(0, alone=False)
    with EnergyMeter({"cpu": lambda: counter}).measure():
        pass
    assert counter.checks == 1


def test_a_counter_that_wraps_between_the_samples_of_a_long_run_is_corrected(tmp_path):
    package = tmp_path / "intel-rapl:0"
    package.mkdir()
    (package / "name").write_text("package-0")
    (package / "max_energy_range_uj").write_text(str(RANGE))
    (package / "energy_uj").write_text("0")
    stat = tmp_path / "stat"
    stat.write_text("cpu  0 0 0 0 0 0 0 0\n")
    whole = threading.Semaphore(0)

    class Counter(RaplCounter):
        def read(self):
            found = super().read()
            whole.release()
            return found

    meter = EnergyMeter({"cpu": lambda: Counter(tmp_path, stat)})
    with meter.measure(sample_s=0.001):
        for joules in range(0, 150, 10):  # three times the range of the counter
            (package / "energy.tmp").write_text(str(joules * 1_000_000 % RANGE))
            (package / "energy.tmp").replace(package / "energy_uj")
            while whole.acquire(blocking=False):
                pass
            assert whole.acquire(timeout=10)  # a sample began before this value was written
            assert whole.acquire(timeout=10)
    assert meter.read()["cpu"]["joules"] == pytest.approx(140)


def test_an_interrupted_run_adds_its_parts_and_knows_nothing_if_one_is_unknown():
    meter = EnergyMeter({"cpu": lambda: Recorded(0, 0, 0, 0, 0, 10)})
    meter.restore({"cpu": {"joules": 5.0, "idle_watts": 1.0, "why": ""}})
    with meter.measure():
        pass
    assert meter.read()["cpu"]["joules"] == 15
    for before in (None, {}, {"cpu": {"joules": None, "idle_watts": None, "why": "shared"}}):
        meter = EnergyMeter({"cpu": lambda: Recorded(0)})
        meter.restore(before)
        with meter.measure():
            pass
        assert meter.read()["cpu"]["joules"] is None
        assert "interruption" in meter.read()["cpu"]["why"]


def test_a_meter_that_never_measured_knows_nothing():
    assert EnergyMeter({"cpu": lambda: Recorded(0)}).read()["cpu"]["joules"] is None


def test_runs_of_several_processes_have_no_energy():
    import torch

    found = energy.open_meter(torch.device("cpu"), processes=2)
    with found.measure():
        pass
    assert found.read()["cpu"] == {"joules": None, "idle_watts": None, "why": energy.SEVERAL}


def test_a_run_records_its_energy_and_the_same_bits(tmp_path, monkeypatch):
    execute(TINY, tmp_path / "plain")
    counters = iter([Recorded(0, 0, 0, 0, 0, 20), Recorded(0, 0, 0, 0, 100, 130)])
    monkeypatch.setattr(
        run_state, "open_meter", lambda *_: EnergyMeter({"cpu": lambda: next(counters)})
    )
    stops = iter([True])
    with pytest.raises(Stopped):
        execute(TINY, tmp_path / "measured", stop=lambda: next(stops, False))
    result = execute(TINY, tmp_path / "measured")
    assert result["energy"]["cpu"]["joules"] == 20 + 30
    one, other = (
        read_reproducible(tmp_path / name / "runs" / TINY.id) for name in ("plain", "measured")
    )
    assert one == other


def test_the_loop_itself_reads_no_counter(tmp_path, monkeypatch):
    reads = []

    class Counted(Recorded):
        def read(self):
            reads.append(threading.current_thread())
            return super().read()

    monkeypatch.setattr(
        run_state, "open_meter", lambda *_: EnergyMeter({"cpu": lambda: Counted(0)})
    )
    execute(TINY, tmp_path)
    few = len(reads)
    reads.clear()
    execute(replace(TINY, epochs=2 * TINY.epochs), tmp_path)
    assert len(reads) == few
