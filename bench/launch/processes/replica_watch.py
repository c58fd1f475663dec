"""Launcher of the processes of one run: all of them finish, or none does.

This process holds the lock of the run and writes its heartbeat. It forwards the progress messages
of the first process. If one process fails or is killed, the remaining processes would wait for it
forever, so they are killed too. The run can resume from its checkpoint. If this process dies, the
processes of the run exit.

The elastic agent of torch.distributed.run is not used, for two reasons. It replaces the signal
handlers by which this process stops a run at a step. It also ends a failed run with SIGTERM.
Processes in Slurm jobs must block SIGTERM, so the agent would wait 30 s each time.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from bench.errors import ProcessLost, Stopped, UserError
from bench.launch.processes.fork_server import AGAIN, start_process, start_server
from bench.launch.processes.messages import Failure, Message
from bench.launch.processes.replica import ReplicaTask, run_replica
from bench.spec import Spec

LISTEN_SECONDS = 0.5
# How long to wait for more messages after a failure, since its cause may arrive later.
CAUSE_SECONDS = 1.0


@dataclass
class Replica:
    """Process of a run, its rank, the launcher's end of its pipe, and its final message."""

    rank: int
    process: Any
    pipe: Connection
    last_word: Message | None = None

    @property
    def over(self) -> bool:
        """Whether the process has sent its final message or ended."""
        return self.last_word is not None or not self.process.is_alive()

    @property
    def failed(self) -> bool:
        """Whether the process failed, or ended without a final message."""
        return self.over and (self.last_word is None or self.last_word[0] == "failed")


@contextmanager
def start_replicas(
    spec: Spec, task: ReplicaTask, first: int
) -> Iterator[tuple[list[Replica], Any]]:
    """Start this machine's processes. Kill those that are still alive at the end of the block.

    first: rank of the first process on this machine.
    Yields the processes and the event that asks them to stop.
    """
    gpu = _choose_first_gpu(spec)
    start_server(signal.SIGTERM)
    context = multiprocessing.get_context("forkserver")
    stopping = context.Event()
    replicas: list[Replica] = []
    try:
        for index in range(spec.replicas_per_node):
            own = ReplicaTask(**{**vars(task), "rank": first + index, "gpu": gpu + index})
            try:
                process, pipe = start_process(context, run_replica, own, stopping)
            except ProcessLost as error:
                raise ProcessLost(
                    f"process {own.rank} of {spec.replicas} could not be started, because the fork "
                    f"server was killed; {AGAIN}"
                ) from error
            replicas.append(Replica(own.rank, process, pipe))
        yield replicas, stopping
    finally:
        for replica in replicas:
            if not replica.last_word or replica.last_word[0] == "failed":
                replica.process.kill()
            replica.process.join(timeout=CAUSE_SECONDS)
            replica.process.kill()  # it may hang after its final message
            replica.process.join()
            replica.pipe.close()


def await_end(
    replicas: list[Replica],
    stop: Callable[[], bool],
    stopping: Any,
    progress: Callable[[int, int], None],
    over: Callable[[], bool] = lambda: False,
) -> None:
    """Wait until all processes are done, one process has failed, or the run has ended elsewhere.

    over: returns whether a process on another machine failed, or the first machine ended the run.
    """
    while not all(replica.over for replica in replicas):
        if stop():
            stopping.set()
        _listen(replicas, progress)
        if over() or any(replica.failed for replica in replicas):
            until = time.monotonic() + CAUSE_SECONDS
            while time.monotonic() < until and not all(r.over for r in replicas):
                _listen(replicas, progress)
            break
    _listen(replicas, progress)


def _listen(replicas: list[Replica], progress: Callable[[int, int], None]) -> None:
    talking = [r for r in replicas if not r.over]
    sources: list[Any] = [source for r in talking for source in (r.pipe, r.process.sentinel)]
    if sources:
        wait(sources, timeout=LISTEN_SECONDS)
    for replica in replicas:
        with suppress(EOFError, OSError):
            while replica.last_word is None and replica.pipe.poll():
                kind, value = replica.pipe.recv()
                if kind == "step":
                    progress(*value)
                else:
                    replica.last_word = (kind, value)


def get_result(replicas: list[Replica]) -> dict[str, Any]:
    """Return the result of the first process. Raises Stopped if it has stopped."""
    word = replicas[0].last_word
    assert word is not None
    if word[0] == "stopped":
        raise Stopped
    result: dict[str, Any] = word[1]
    return result


def raise_cause(
    replicas: list[Replica], of: int, elsewhere: Mapping[str, Any] | None = None
) -> None:
    """Raise the error that ended the run, if any.

    A killed process has priority, because it may have caused the errors of other processes. Errors
    of connections come last, because they follow from the end of another process.
    of: number of processes on all machines.
    elsewhere: the first failure on another machine: `reason`, `users` (whether it is a UserError)
    and `lost` (whether it is a ProcessLost).
    """
    for replica in replicas:
        if replica.last_word is None and not replica.process.is_alive():
            raise ProcessLost(
                f"process {replica.rank} of {of} ended with exit code {replica.process.exitcode}; "
                + AGAIN
            )
    failures: list[tuple[int, Failure]] = [
        (r.rank, r.last_word[1]) for r in replicas if r.last_word and r.last_word[0] == "failed"
    ]
    causes = [(rank, failure) for rank, failure in failures if not failure.peer]
    if elsewhere and not causes:
        reason = elsewhere["reason"]
        raise (
            ProcessLost(reason) if elsewhere["lost"]
            else UserError(reason) if elsewhere["users"] else RuntimeError(reason)
        )  # fmt: skip
    for rank, failure in sorted(causes, key=lambda pair: not pair[1].users):
        error: Exception = (
            UserError(failure.reason)
            if failure.users
            else RuntimeError(f"process {rank}: {failure.reason}")
        )
        error.add_note(failure.trace)
        raise error
    for rank, failure in failures:
        line = failure.reason.splitlines()[0]
        raise ProcessLost(f"process {rank} of {of} lost its connection ({line}); {AGAIN}")


def _choose_first_gpu(spec: Spec) -> int:
    """Return the index of the first GPU of the run; its other GPUs follow it."""
    if spec.device != "cuda":
        return 0
    import torch

    # A worker of the pool has called set_device; elsewhere CUDA is not initialized yet.
    first = torch.cuda.current_device() if torch.cuda.is_initialized() else 0
    present, wanted = torch.cuda.device_count(), spec.replicas_per_node
    if first + wanted > present:
        raise UserError(
            f"{spec.label}: replicas = {spec.replicas} needs {wanted} GPU{'s' * (wanted > 1)} on "
            f"each machine, but this machine has {present}; use fewer replicas or fewer --workers"
        )
    return first
