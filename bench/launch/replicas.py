"""Launcher of the processes of one run: all of them finish, or none does.

This process holds the lock of the run and its heartbeat, and forwards the progress messages of the
first process. If a process fails or is killed, the others would wait for it without end, so they
are killed too. The run can resume from its checkpoint. If this process dies, the others exit.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from bench.errors import ProcessLost, UserError
from bench.launch.messages import (
    PRELOADED,
    Failure,
    Message,
    ProgressSender,
    ignore_interrupts,
    send,
)
from bench.spec import Spec

LISTEN_SECONDS = 0.5
# How long to wait for more messages after a failure, since its cause may arrive later.
CAUSE_SECONDS = 1.0


@dataclass
class _Replica:
    """Process of a run, the launcher's end of its pipe, and its final message."""

    process: Any
    pipe: Connection
    last_word: Message | None = None

    @property
    def over(self) -> bool:
        return self.last_word is not None or not self.process.is_alive()


def execute_replicas(
    spec: Spec,
    results: Path,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda step, steps: None,
    checkpoint_seconds: float = 60.0,
) -> dict[str, Any]:
    """Execute a run in `spec.replicas` processes on this machine; return its result.

    The other parameters are those of `bench.training.loop.execute`. Raises Stopped after a stop
    request, ProcessLost if a process was killed, UserError if the user can fix the problem.
    """
    first_gpu = _choose_first_gpu(spec)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    stopping = context.Event()
    with tempfile.TemporaryDirectory(prefix="freezebench-") as place:
        replicas: list[_Replica] = []
        try:
            for rank in range(spec.replicas):
                ours, theirs = context.Pipe()
                order = _ReplicaTask(rank, spec.to_dict(), results, Path(place) / "meeting",
                               first_gpu + rank, checkpoint_seconds)  # fmt: skip
                process = context.Process(target=_run_replica, args=(order, theirs, stopping))
                try:
                    process.start()
                except (EOFError, OSError) as error:
                    raise ProcessLost(
                        f"process {rank} of {spec.replicas} could not be started, because the fork "
                        "server was killed; run the same command again to resume from the last "
                        "checkpoint"
                    ) from error
                theirs.close()
                replicas.append(_Replica(process, ours))
            return _await_result(replicas, stop, stopping, progress)
        finally:
            for replica in replicas:
                if not replica.last_word or replica.last_word[0] == "failed":
                    replica.process.kill()
                replica.process.join(timeout=CAUSE_SECONDS)
                replica.process.kill()  # it may hang after its final message
                replica.process.join()
                replica.pipe.close()


def _await_result(
    replicas: list[_Replica],
    stop: Callable[[], bool],
    stopping: Any,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Wait until all processes are done or one has failed; return the result of the first."""
    while not all(replica.over for replica in replicas):
        if stop():
            stopping.set()
        _listen(replicas, progress)
        if any(_has_failed(replica) for replica in replicas):
            until = time.monotonic() + CAUSE_SECONDS
            while time.monotonic() < until and not all(r.over for r in replicas):
                _listen(replicas, progress)
            break
    _listen(replicas, progress)
    _raise_cause(replicas)
    word = replicas[0].last_word
    assert word is not None
    if word[0] == "stopped":
        from bench.training.loop import Stopped

        raise Stopped
    result: dict[str, Any] = word[1]
    return result


def _has_failed(replica: _Replica) -> bool:
    """Return whether a process failed, or ended without a final message."""
    return replica.over and (replica.last_word is None or replica.last_word[0] == "failed")


def _listen(replicas: list[_Replica], progress: Callable[[int, int], None]) -> None:
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


def _raise_cause(replicas: list[_Replica]) -> None:
    """Raise the error that ended the run, if any.

    A killed process comes first, because it may have caused the errors of the others.
    """
    of = len(replicas)
    for rank, replica in enumerate(replicas):
        if replica.last_word is None:
            replica.process.join()
            raise ProcessLost(
                f"process {rank} of {of} ended with exit code {replica.process.exitcode}; run the "
                "same command again to resume from the last checkpoint"
            )
    words = [
        (rank, *replica.last_word) for rank, replica in enumerate(replicas) if replica.last_word
    ]
    failures: list[tuple[int, Failure]] = [(rank, v) for rank, kind, v in words if kind == "failed"]
    # UserErrors come first, because other errors may only be lost connections.
    for rank, failure in sorted(failures, key=lambda pair: not pair[1].users):
        error: Exception = (
            UserError(failure.reason)
            if failure.users
            else RuntimeError(f"process {rank}: {failure.reason}")
        )
        error.add_note(failure.trace)
        raise error


def _choose_first_gpu(spec: Spec) -> int:
    """Return the index of the first GPU of the run; its other GPUs follow it."""
    if spec.device != "cuda":
        return 0
    import torch

    # A worker of the pool has called set_device; elsewhere CUDA is not initialized yet.
    first = torch.cuda.current_device() if torch.cuda.is_initialized() else 0
    there = torch.cuda.device_count()
    if first + spec.replicas > there:
        raise UserError(
            f"{spec.label}: replicas = {spec.replicas} needs as many GPUs, but this machine has "
            f"{there}; use fewer replicas or fewer --workers"
        )
    return first


@dataclass(frozen=True)
class _ReplicaTask:
    """Task of one process of a run."""

    rank: int
    spec: dict[str, Any]
    results: Path
    meeting: Path
    gpu: int
    checkpoint_seconds: float


def _run_replica(order: _ReplicaTask, pipe: Connection, stopping: Any) -> None:
    """Join the other processes, execute the run and send its final message."""
    ignore_interrupts()
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all processes are on this machine
    spec = Spec.from_dict(order.spec)
    try:
        import torch

        from bench.distributed.process_group import join_processes
        from bench.training.loop import Stopped, execute

        if spec.device == "cuda":
            torch.cuda.set_device(order.gpu)
        tell = ProgressSender(pipe, LISTEN_SECONDS)
        with join_processes(order.rank, spec.replicas, order.meeting, spec.device) as group:
            try:
                result = execute(
                    spec,
                    order.results,
                    stop=stopping.is_set,
                    progress=tell if group.first else lambda step, steps: None,
                    checkpoint_seconds=order.checkpoint_seconds,
                    group=group,
                )
                pipe.send(("result", result))
            except Stopped:
                pipe.send(("stopped", None))
            except Exception as error:
                # Send this before the connections close, so that it arrives before their errors.
                _send_failure(pipe, error)
                os._exit(1)
    except Exception as error:
        _send_failure(pipe, error)


def _send_failure(pipe: Connection, error: Exception) -> None:
    users = isinstance(error, UserError)
    reason = str(error) if users else f"{type(error).__name__}: {error}"
    send(pipe, ("failed", Failure(reason, users, "".join(traceback.format_exception(error)))))


def _end_with_parent(pipe: Connection) -> None:
    """Exit at once when the parent dies: its lock is released, so another process may start."""
    with suppress(EOFError, OSError):
        pipe.recv()  # blocks until the pipe is closed, since the parent sends no message
    os._exit(1)
