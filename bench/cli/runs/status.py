"""`freezebench status`: state of the runs of sweeps, from run folders and Slurm's queue."""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.argument_types import parse_seconds
from bench.cli.runs.plan import format_roles
from bench.cli.sweep_arguments import add_sweep_arguments, resolve_sweep

if TYPE_CHECKING:
    from bench.launch.slurm.submissions import RunLocation
    from bench.planning.sweep import Sweep
    from bench.results.run_status import RunStatus
    from bench.spec import Spec

HELP = "show which runs of sweeps are done, running, queued or failed, and why they failed"
EXAMPLE = "freezebench status window --watch"
QUEUED = "queued"
ORDER = ("done", "running", QUEUED, "to do", "interrupted", "failed", "blocked", "diverged")
SHOWN = 20  # lines of a kind, unless --all is given


def arguments(parser: argparse.ArgumentParser) -> None:
    add_sweep_arguments(parser)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--watch", action="store_true", help="repeat until no run is running or queued"
    )
    output.add_argument(
        "--every",
        type=parse_seconds,
        default=5.0,
        metavar="FLOAT",
        help="seconds between two updates of --watch",
    )
    output.add_argument(
        "--all",
        action="store_true",
        help="list all runs that are running or did not finish "
        f"(default: the first {SHOWN} of each state)",
    )


def main(args: argparse.Namespace) -> int:
    from rich.console import Console

    sweep = resolve_sweep(args)
    while True:
        snapshot = Snapshot.take(sweep, args.results)
        if args.watch:
            Console().clear()  # does nothing where stdout is no terminal
        print("\n".join(describe_snapshot(sweep, snapshot, args.all)), flush=True)
        if not args.watch or not snapshot.going_on:
            return 0
        time.sleep(args.every)
        print()


@dataclass(frozen=True)
class Snapshot:
    """States of all runs of a sweep at one moment, by run id.

    places: Slurm jobs of the runs.
    silent: why Slurm did not answer, or '' if Slurm answered.
    """

    statuses: Mapping[str, RunStatus]
    places: Mapping[str, RunLocation]
    silent: str
    results: Path

    @classmethod
    def take(cls, sweep: Sweep, results: Path) -> Snapshot:
        """Read the run folders, and Slurm's queue if any job was submitted."""
        from bench.launch.slurm.slurm_commands import Unreachable, find_jobs
        from bench.launch.slurm.submissions import Submissions, locate_runs
        from bench.results.run_status import read_statuses

        live = [array for array in Submissions(results).list_active() if array.jobs]
        jobs, silent = None, ""
        try:
            jobs = find_jobs(array.name for array in live)
        except Unreachable as error:
            silent = str(error)
        # The queue was read first, so a run that left it meanwhile has its result by now.
        return cls(read_statuses(sweep.specs, results), locate_runs(live, jobs), silent, results)

    def state(self, spec: Spec) -> str:
        """Return the state of a run as one word."""
        status = self.statuses[spec.id]
        if status.state in ("done", "diverged", "running"):
            return status.state
        place = self.places.get(spec.id)
        gone = place is None or (
            status.state in ("failed", "blocked") and status.job == place.number
        )
        return status.state if gone else QUEUED

    @property
    def going_on(self) -> bool:
        """Whether any run is running or queued."""
        running = any(status.state == "running" for status in self.statuses.values())
        return running or any(
            run in self.statuses and self.statuses[run].state not in ("done", "diverged")
            for run in self.places
        )


def describe_snapshot(sweep: Sweep, snapshot: Snapshot, everything: bool) -> Iterator[str]:
    """Yield the lines that the command prints.

    everything: whether to list all runs of a state, instead of the first SHOWN.
    """
    from bench.launch.progress import format_duration

    states = {spec.id: snapshot.state(spec) for spec in sweep.specs}
    counts = _format_counts(Counter(states.values()))
    yield f"{sweep.name}, profile {sweep.profile['name']}: {counts}"
    yield from format_roles(sweep)
    yield from _format_cells(sweep, states)
    limit = len(states) if everything else SHOWN

    running = [
        _format_running(spec, snapshot) for spec in sweep.specs if states[spec.id] == "running"
    ]
    yield from _limit_lines("running", running, limit)
    jobs = {p.number: p.job for run, p in snapshot.places.items() if states.get(run) == QUEUED}
    if jobs:
        why = Counter(f"{j.state.lower()} ({j.reason})" if j else "unknown" for j in jobs.values())
        head = f"queued in {len(jobs)} job{'s' * (len(jobs) != 1)}: "
        yield head + ", ".join(f"{n} {w}" for w, n in why.items())
    for state in ("diverged", "failed", "blocked", "interrupted"):
        lines = [
            _format_failure(spec, snapshot) for spec in sweep.specs if states[spec.id] == state
        ]
        yield from _limit_lines(state, lines, limit)
    if snapshot.silent:
        yield (
            f"Slurm does not answer ({snapshot.silent}); all jobs that are not known to have ended "
            "count as queued"
        )
    left = sum(states[s.id] in ("to do", "interrupted", "failed", "blocked") for s in sweep.specs)
    if left and not snapshot.silent:
        runs, them = ("run is", "it") if left == 1 else ("runs are", "them")
        yield f"{left} {runs} neither running nor queued; `freezebench sweep` starts {them}"
    silences = [t.silence for t in snapshot.statuses.values() if t.state == "running"]
    if silences and max(silences) > 600:
        longest = format_duration(max(silences))
        yield f"a running run has had no heartbeat for {longest}; its process may hang"


def _format_cells(sweep: Sweep, states: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each cell of the sweep, and for each artifact that its runs need."""
    roles = {e.spec.id: " ".join(e.roles.values()) for e in sweep.entries}
    cells: dict[str, Counter[str]] = {}
    for spec in sweep.specs:
        name = roles.get(spec.id, f"artifact: {spec.model} on {spec.data_name}")
        cells.setdefault(name, Counter())[states[spec.id]] += 1
    width = max(len(name) for name in cells)
    for name, counts in cells.items():
        yield f"  {name:{width}}  {counts['done']:>3} of {counts.total()} done" + "".join(
            f", {counts[state]} {state}" for state in ORDER[1:] if counts[state]
        )


def _format_counts(counts: Counter[str]) -> str:
    parts = [f"{counts[state]} {state}" for state in ORDER if counts[state] or state == "done"]
    return f"{counts.total()} run{'s' * (counts.total() != 1)}: " + ", ".join(parts)


def _format_running(spec: Spec, snapshot: Snapshot) -> str:
    """Return a line on a running run: step, speed, time left, machine and heartbeat age."""
    from bench.launch.progress import format_duration
    from bench.results.run_status import SILENT_SECONDS

    status = snapshot.statuses[spec.id]
    progress = status.progress
    if not progress:
        return f"{spec.label}: starting"
    words = "preparing"
    if progress["step"]:
        words = f"step {progress['step']} of {progress['steps']}"
        if speed := progress["steps_per_second"]:
            left = (progress["steps"] - progress["step"]) / speed
            words += f", {speed:.3g} steps/s, {format_duration(left)} left"
    words += f", on {progress['node']}" + (f", job {progress['job']}" if progress["job"] else "")
    if status.silence > SILENT_SECONDS:
        words += f"; no heartbeat for {format_duration(status.silence)}"
    return f"{spec.label}: {words}"


def _format_failure(spec: Spec, snapshot: Snapshot) -> str:
    """Return a line on a run that did not finish: the reason and the path of its log."""
    status = snapshot.statuses[spec.id]
    log = status.log or _find_job_log(spec, snapshot)
    return f"{spec.label}: {status.reason or 'was stopped'}" + (f"; log: {log}" if log else "")


def _find_job_log(spec: Spec, snapshot: Snapshot) -> str:
    """Return the path of the log of the last job that executed a run, or '' if it is unknown."""
    from bench.launch.slurm.submissions import Submissions

    status = snapshot.statuses[spec.id]
    number = status.job or (status.progress or {}).get("job", "")
    log = Submissions(snapshot.results).find_log(number) if number else None
    return str(log) if log else ""


def _limit_lines(kind: str, lines: list[str], limit: int) -> Iterator[str]:
    if lines:
        yield f"{kind}:"
        yield from (f"  {line}" for line in lines[:limit])
        if len(lines) > limit:
            yield f"  and {len(lines) - limit} more (--all)"
