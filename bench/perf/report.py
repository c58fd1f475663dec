"""Output of measurements: lines on the terminal, perf.csv and environment.json."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import explain_errors, hold_lock, make_folder, write_atomically
from bench.machine.environment import describe_machine
from bench.perf.harness import PerfSettings
from bench.perf.interleaved_timing import name_clock
from bench.perf.measurement import Measurement


def format_measurement(one: Measurement) -> str:
    """Format a measurement as one line: median, quartiles and rounds.

    If the measurement has a limit, the line also shows the limit, the outcome, and the interval
    that was compared with the limit.
    """
    spread = f"[{one.low:.4g}, {one.high:.4g}] of {one.rounds}" if one.rounds > 1 else ""
    sure = f" ({one.least:.4g} to {one.most:.4g})" if one.rounds > 1 else ""
    limit = f"{one.limit} {one.verdict}{sure}" if one.limit else ""
    where = f"{one.subject} {one.case}".strip()
    return f"  {where:48} {one.quantity:28} {one.median:9.4g}  {spread:26} {limit}".rstrip()


@contextmanager
def hold_folder(results: Path) -> Iterator[Path]:
    """Create the folder `perf` of a results folder, and yield it.

    Raises UserError if the folder cannot be created, or if another process measures into it.
    """
    folder = results / "perf"
    make_folder(folder)
    with hold_lock(results / "perf.lock", seconds=0) as ours:
        if not ours:
            raise UserError(
                f"another freezebench perf writes {folder}; wait until it ends, because two "
                "measurements at the same time change each other's times"
            )
        yield folder


def move_earlier_files(folder: Path) -> None:
    """Rename a folder that holds the files of an earlier measurement, and create an empty one.

    The new name is `perf-` and the time (UTC) at which these files were written.
    """
    earlier = folder / "perf.csv"
    if not earlier.exists():
        return
    written = datetime.fromtimestamp(earlier.stat().st_mtime, UTC)
    name = f"{folder.name}-{written:%Y%m%d-%H%M%S}"
    names = [name, *(f"{name}-{number}" for number in range(2, 1000))]
    with explain_errors(folder):
        folder.rename(next(path for path in map(folder.with_name, names) if not path.exists()))
    make_folder(folder)


def write_measurements(
    figures: Sequence[Measurement], settings: PerfSettings, folder: Path
) -> tuple[Path, Path]:
    """Write perf.csv and environment.json into a folder. Return both paths."""
    text = io.StringIO()
    rows = [{**asdict(one), "verdict": one.verdict} for one in figures]
    writer = csv.DictWriter(text, rows[0].keys() if rows else (), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    # The environment first: readers of perf.csv need it, and a signal may end the process here.
    values = json.dumps(describe_environment(settings), indent=1) + "\n"
    write_atomically(folder / "environment.json", values)
    write_atomically(folder / "perf.csv", text.getvalue())
    return folder / "perf.csv", folder / "environment.json"


def describe_environment(settings: PerfSettings) -> dict[str, Any]:
    """Return the machine, its load, package versions and the settings of the measurement."""
    device = settings.torch_device
    return {
        **describe_machine(device),
        "clock": name_clock(device),
        "threads": settings.threads,
        "resolution": settings.resolution,
        "batch_size": settings.batch_size,
        "precision": settings.precision,
        "channels_last": settings.channels_last,
        "seconds": settings.seconds,
    }
