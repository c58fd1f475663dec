"""Execution of a run with replicas, on this machine or on several."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import ProcessLost, Stopped, UserError
from bench.launch.processes.replica import ReplicaTask
from bench.launch.processes.replica_watch import (
    LISTEN_SECONDS,
    Replica,
    await_end,
    get_result,
    raise_cause,
    start_replicas,
)
from bench.spec import Spec

if TYPE_CHECKING:
    from bench.distributed.machines import Machines

REPORT_SECONDS = 3.0  # maximum wait for the cause of a failure on another machine


def execute_replicas(
    spec: Spec,
    results: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda step, steps: None,
    checkpoint_seconds: float = 60.0,
) -> dict[str, Any]:
    """Execute a run in `spec.replicas` processes; return its result.

    With `spec.nodes` above 1, this machine must be the first one (bench/distributed/machines.py).
    The other parameters are those of `bench.training.loop.execute`. Raises Stopped after a stop
    request, and ProcessLost if a process or a machine was lost. Raises UserError if the user can
    fix the problem.
    """
    with tempfile.TemporaryDirectory(prefix="freezebench-") as place:
        task = ReplicaTask(
            0, spec.to_dict(), results.resolve(), f"{place}/meeting", 0, 0, checkpoint_seconds
        )
        if spec.nodes == 1:
            with start_replicas(spec, task, 0) as (replicas, stopping):
                await_end(replicas, stop, stopping, progress)
                raise_cause(replicas, spec.replicas)
                return get_result(replicas)
        return _lead(spec, task, stop, progress)


def _lead(
    spec: Spec, task: ReplicaTask, stop: Callable[[], bool], progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Tell the other machines to start a run, and execute it together with them."""
    from bench.distributed.machines import connect

    machines, address = connect()
    if machines.size != spec.nodes:
        raise UserError(
            f"{spec.label}: nodes = {spec.nodes}, but {machines.size} machines take part; set "
            f"nodes = {machines.size} for all runs"
        )
    number = machines.publish({**asdict(task), "results": str(task.results), "meeting": address})
    try:
        if not _await_machines(machines, number, stop):
            raise Stopped
        task = ReplicaTask(**{**asdict(task), "meeting": address, "attempt": number})
        with start_replicas(spec, task, 0) as (replicas, stopping):
            await_end(
                replicas, stop, stopping, progress, lambda: bool(machines.read_failure(number))
            )
            raise_cause(replicas, spec.replicas, _read_report(machines, number, replicas))
            return get_result(replicas)
    finally:
        machines.finish(number)


def _read_report(
    machines: Machines, number: int, replicas: Sequence[Replica]
) -> dict[str, Any] | None:
    """Return the failure that another machine reports, or None.

    If a process on this machine has failed, wait up to REPORT_SECONDS for the report.
    """
    until = time.monotonic() + REPORT_SECONDS
    while (report := machines.read_failure(number)) is None and time.monotonic() < until:
        if not any(replica.failed for replica in replicas):
            return None
        time.sleep(LISTEN_SECONDS)
    return report


def _await_machines(machines: Machines, number: int, stop: Callable[[], bool]) -> bool:
    """Wait until all other machines have joined order `number`. Return False after a stop request.

    Raises ProcessLost after JOIN_SECONDS.
    """
    from bench.distributed.machines import JOIN_SECONDS

    until = time.monotonic() + JOIN_SECONDS
    while not machines.have_joined(number):
        if stop():
            return False
        if time.monotonic() > until:
            raise ProcessLost(
                f"a machine did not join the run within {JOIN_SECONDS:.0f} s; start the same "
                "command on all machines again to resume from the last checkpoint"
            )
        time.sleep(LISTEN_SECONDS)
    return True


def follow(machines: Machines) -> None:
    """Execute this machine's share of each run until the first machine is done.

    Raises ProcessLost if the connection to the first machine is lost.
    """
    number = 1
    while (order := machines.await_order(number)) is not None:
        if not machines.is_over(number):
            machines.join(number)
            try:
                spec = Spec.from_dict(order["spec"])
                order |= {"results": Path(order["results"]), "attempt": number}
                _execute_share(machines, number, spec, ReplicaTask(**order))
            except Exception as error:
                kind = {
                    "users": isinstance(error, UserError),
                    "lost": isinstance(error, ProcessLost),
                }
                machines.report(number, {"reason": str(error), **kind})
        number += 1


def _execute_share(machines: Machines, number: int, spec: Spec, task: ReplicaTask) -> None:
    first = machines.rank * spec.replicas_per_node
    with start_replicas(spec, task, first) as (replicas, stopping):
        await_end(
            replicas, lambda: False, stopping, lambda *_: None, lambda: machines.is_over(number)
        )
        raise_cause(replicas, spec.replicas)
