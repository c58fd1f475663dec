"""Execution of runs in this process, which saves the start-up time of a worker."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event

from bench.launch.attempt import run_and_report
from bench.launch.outcome import Outcome, Watcher
from bench.planning.plan import Plan


def run_in_process(plan: Plan, results: Path, watcher: Watcher) -> Outcome:
    """Execute the runs of a plan in order. On Ctrl-C, write a checkpoint and stop."""
    outcome, done = Outcome(), set(plan.done)
    planned = {s.id for s in plan.specs}
    with catch_interrupt() as stop:
        for spec in plan.todo:
            if any(n in planned and n not in done for n in spec.needs):
                outcome.blocked.append(spec)
                continue
            watcher.started(spec)
            kind, value = run_and_report(spec, results, stop.is_set, partial(watcher.stepped, spec))
            outcome.record(spec, kind, value, watcher)
            if kind == "stopped":
                outcome.stopped = True
                break
            if kind != "failed":
                done.add(spec.id)
    return outcome


@contextmanager
def catch_interrupt() -> Iterator[Event]:
    """Yield an event that the first Ctrl-C sets, so that SIGINT does not interrupt a step."""
    stop = Event()

    def interrupted(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second Ctrl-C raises

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
