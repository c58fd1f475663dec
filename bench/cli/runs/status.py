"""`freezebench status`: how far a sweep is, from its folders alone; more where Slurm answers."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.arguments import add_sweep_arguments, resolve_sweep
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.launch.slurm.submissions import RunLocation
    from bench.planning.sweep import Sweep
    from bench.results.run_status import RunStatus
    from bench.spec import Spec

HELP = "how far a sweep is, wherever it runs: done, running, queued, failed and why"
QUEUED = "queued"
ORDER = ("done", "running", QUEUED, "to do", "interrupted", "failed", "blocked", "diverged")
SHOWN = 20  # lines of a kind, unless --all is given


def arguments(parser: argparse.ArgumentParser) -> None:
    add_sweep_arguments(parser)
    parser.add_argument("--watch", action="store_true", help="go on until nothing runs or waits")
    parser.add_argument(
        "--every", type=float, default=5.0, metavar="S", help="seconds, for --watch"
    )
    parser.add_argument("--all", action="store_true", help="a line for every run that is told of")


def main(args: argparse.Namespace) -> int:
    if args.every <= 0:
        raise UserError(f"--every {args.every} is not valid; give seconds above 0")
    sweep = resolve_sweep(args)
    while True:
        snapshot = Snapshot.take(sweep, args.results)
        if args.watch and sys.stdout.isatty():
            print("\x1b[H\x1b[2J", end="")
        print("\n".join(describe_snapshot(sweep, snapshot, args.all)), flush=True)
        if not args.watch or not snapshot.going_on:
            return 0
        time.sleep(args.every)
        print()


@dataclass(frozen=True)
class Snapshot:
    """Where all runs of a sweep stand at one moment, by id.

    places: the jobs they are in. silent: why Slurm could not be asked, '' if it could.
    """

    there: Mapping[str, RunStatus]
    places: Mapping[str, RunLocation]
    silent: str
    results: Path

    @classmethod
    def take(cls, sweep: Sweep, results: Path) -> Snapshot:
        """Look at the folders, and at the queue if anything was sent."""
        from bench.launch.slurm.slurm_commands import Unreachable, find_jobs
        from bench.launch.slurm.submissions import Submissions, locate_runs
        from bench.results.run_status import read_statuses

        live = [array for array in Submissions(results).list_active() if array.jobs]
        jobs, silent = None, ""
        try:
            jobs = find_jobs(array.name for array in live)
        except Unreachable as error:
            silent = str(error)
        # The queue first: a run that leaves it meanwhile has its result by now.
        return cls(read_statuses(sweep.specs, results), locate_runs(live, jobs), silent, results)

    def state(self, spec: Spec) -> str:
        """One word for a run."""
        there = self.there[spec.id]
        if there.state in ("done", "diverged", "running"):
            return there.state
        place = self.places.get(spec.id)
        gone = place is None or (there.state in ("failed", "blocked") and there.job == place.number)
        return there.state if gone else QUEUED

    @property
    def going_on(self) -> bool:
        """Whether anything runs or waits in the queue."""
        running = any(there.state == "running" for there in self.there.values())
        return running or any(
            run in self.there and self.there[run].state not in ("done", "diverged")
            for run in self.places
        )


def describe_snapshot(sweep: Sweep, snapshot: Snapshot, everything: bool) -> Iterator[str]:
    """The whole answer."""
    from bench.launch.progress import format_duration

    states = {spec.id: snapshot.state(spec) for spec in sweep.specs}
    counts = _format_counts(Counter(states.values()))
    yield f"{sweep.name}, profile {sweep.profile['name']}: {counts}"
    yield from _format_cells(sweep, states)
    limit = len(states) if everything else SHOWN

    running = [
        _format_running(spec, snapshot) for spec in sweep.specs if states[spec.id] == "running"
    ]
    yield from _limit_lines("running", running, limit)
    jobs = {p.number: p.job for run, p in snapshot.places.items() if states.get(run) == QUEUED}
    if jobs:
        why = Counter(f"{j.state.lower()} ({j.reason})" if j else "unknown" for j in jobs.values())
        yield f"queued in {len(jobs)} jobs: " + ", ".join(f"{n} {w}" for w, n in why.items())
    for state in ("diverged", "failed", "blocked", "interrupted"):
        told = [_format_failure(spec, snapshot) for spec in sweep.specs if states[spec.id] == state]
        yield from _limit_lines(state, told, limit)
    if snapshot.silent:
        yield f"Slurm does not answer, so jobs are shown as last written down: {snapshot.silent}"
    left = sum(states[s.id] in ("to do", "interrupted", "failed", "blocked") for s in sweep.specs)
    if left and not snapshot.silent:
        yield f"{left} runs are in no queue; `freezebench sweep` makes or sends them"
    silences = [t.silence for t in snapshot.there.values() if t.state == "running"]
    if silences and max(silences) > 600:
        yield f"the longest silence is {format_duration(max(silences))}: is that process stuck?"


def _format_cells(sweep: Sweep, states: Mapping[str, str]) -> Iterator[str]:
    """A line for each cell of the grid, and one for what they need."""
    roles = {e.spec.id: " ".join(e.roles.values()) for e in sweep.entries}
    cells: dict[str, Counter[str]] = {}
    for spec in sweep.specs:
        name = roles.get(spec.id, f"needed: {spec.model} on {spec.data}")
        cells.setdefault(name, Counter())[states[spec.id]] += 1
    width = max(len(name) for name in cells)
    for name, counts in cells.items():
        yield f"  {name:{width}}  {counts['done']:>3} of {counts.total()} done" + "".join(
            f", {counts[state]} {state}" for state in ORDER[1:] if counts[state]
        )


def _format_counts(counts: Counter[str]) -> str:
    told = [f"{counts[state]} {state}" for state in ORDER if counts[state] or state == "done"]
    return f"{counts.total()} runs: " + ", ".join(told)


def _format_running(spec: Spec, snapshot: Snapshot) -> str:
    """A run under way: step, speed, time left, where, and since when it is silent."""
    from bench.launch.progress import format_duration
    from bench.results.run_status import SILENT_SECONDS

    there = snapshot.there[spec.id]
    told = there.progress
    if not told:
        return f"{spec.label}: starting"
    words = "preparing"
    if told["step"]:
        words = f"step {told['step']} of {told['steps']}"
        if speed := told["steps_per_second"]:
            left = (told["steps"] - told["step"]) / speed
            words += f", {speed:.3g} steps/s, {format_duration(left)} left"
    words += f", on {told['node']}" + (f", job {told['job']}" if told["job"] else "")
    if there.silence > SILENT_SECONDS:
        words += f"; silent for {format_duration(there.silence)}"
    return f"{spec.label}: {words}"


def _format_failure(spec: Spec, snapshot: Snapshot) -> str:
    """A run that went wrong, with the last line of why and where more is written."""
    there = snapshot.there[spec.id]
    log = there.log or _find_job_log(spec, snapshot)
    return f"{spec.label}: {there.reason or 'was stopped'}" + (f"; log: {log}" if log else "")


def _find_job_log(spec: Spec, snapshot: Snapshot) -> str:
    """Where the job printed that made a run last, as far as its folder says."""
    from bench.launch.slurm.submissions import Submissions

    there = snapshot.there[spec.id]
    number = there.job or (there.progress or {}).get("job", "")
    log = Submissions(snapshot.results).find_log(number) if number else None
    return str(log) if log else ""


def _limit_lines(kind: str, told: list[str], limit: int) -> Iterator[str]:
    if told:
        yield f"{kind}:"
        yield from (f"  {line}" for line in told[:limit])
        if len(told) > limit:
            yield f"  and {len(told) - limit} more (--all)"
