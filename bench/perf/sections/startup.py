"""Time of short commands, which is mostly the start of Python and imports."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from bench.perf.harness import PerfSettings
from bench.perf.measurement import Measurement, make_measurement
from bench.perf.median_interval import LEAST_ROUNDS

COMMANDS = {"--help": "<= 0.7", "plan table2": ""}


def measure(settings: PerfSettings) -> Iterator[Measurement]:
    """Yield the wall seconds of each command in a new process."""
    for words, limit in COMMANDS.items():
        command = [sys.executable, "-m", "bench.cli.main", *words.split()]
        if words.startswith("plan"):
            command += ["--results", str(settings.place / "empty")]
        times = []
        for _ in range(LEAST_ROUNDS):
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.perf_counter() - began)
        yield make_measurement("startup", f"freezebench {words}", "", "seconds", times, limit)
