"""Starting the processes of one run, and ending them: all make it, or none does.

This process holds the run and its sign of life, and passes on what the first process tells. When
one of them fails or is killed the others, which would wait for it for ever, are killed too; the
run can go on from its checkpoint. When this process dies they end by themselves.
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
# How long to listen on after a first failure: the one that caused it may be heard of later.
CAUSE_SECONDS = 1.0


@dataclass
class _Replica:
    """One process of a run, our end of its pipe, and its last message but progress."""

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
    """Execute a run on `spec.replicas` processes of this machine (see bench.training.loop).

    Raises ProcessLost if one of them was killed, UserError for what the user can mend.
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
                process.start()
                theirs.close()
                replicas.append(_Replica(process, ours))
            return _await_result(replicas, stop, stopping, progress)
        finally:
            for replica in replicas:
                if not replica.last_word or replica.last_word[0] == "failed":
                    replica.process.kill()
                replica.process.join(timeout=CAUSE_SECONDS)
                replica.process.kill()  # one that hangs after its last word
                replica.process.join()
                replica.pipe.close()


def _await_result(
    replicas: list[_Replica],
    stop: Callable[[], bool],
    stopping: Any,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Listen until all are done, or one is lost; returns the first one's result."""
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
    """Whether a process failed or ended without a word."""
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
    """Raise what ended the run, if anything did: a death before errors, which may follow it."""
    of = len(replicas)
    for rank, replica in enumerate(replicas):
        if replica.last_word is None:
            replica.process.join()
            raise ProcessLost(
                f"process {rank} of {of} ended with exit code {replica.process.exitcode}; the "
                "same command goes on from the last checkpoint"
            )
    words = [
        (rank, *replica.last_word) for rank, replica in enumerate(replicas) if replica.last_word
    ]
    failures: list[tuple[int, Failure]] = [(rank, v) for rank, kind, v in words if kind == "failed"]
    # What a lost connection does to the others is not the cause.
    for rank, failure in sorted(failures, key=lambda pair: not pair[1].users):
        error: Exception = (
            UserError(failure.reason)
            if failure.users
            else RuntimeError(f"process {rank}: {failure.reason}")
        )
        error.add_note(failure.trace)
        raise error


def _choose_first_gpu(spec: Spec) -> int:
    """The first of this machine's GPUs that the run may take; its others follow."""
    if spec.device != "cuda":
        return 0
    import torch

    # A worker of a pool was given its first one; elsewhere nothing has touched a GPU yet.
    first = torch.cuda.current_device() if torch.cuda.is_initialized() else 0
    there = torch.cuda.device_count()
    if first + spec.replicas > there:
        raise UserError(
            f"{spec.label}: replicas = {spec.replicas} needs as many GPUs and this machine has "
            f"{there}; give fewer replicas or fewer --workers"
        )
    return first


@dataclass(frozen=True)
class _ReplicaTask:
    """What one process is told."""

    rank: int
    spec: dict[str, Any]
    results: Path
    meeting: Path
    gpu: int
    checkpoint_seconds: float


def _run_replica(order: _ReplicaTask, pipe: Connection, stopping: Any) -> None:
    """The life of one process: join the others, execute the run, say how it went."""
    ignore_interrupts()
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine
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
                # Said before the connections to the others go, so that the cause is heard first.
                _send_failure(pipe, error)
                os._exit(1)
    except Exception as error:
        _send_failure(pipe, error)


def _send_failure(pipe: Connection, error: Exception) -> None:
    users = isinstance(error, UserError)
    reason = str(error) if users else f"{type(error).__name__}: {error}"
    send(pipe, ("failed", Failure(reason, users, "".join(traceback.format_exception(error)))))


def _end_with_parent(pipe: Connection) -> None:
    """End at once when the parent is gone: it held the run, and another may take it now."""
    with suppress(EOFError, OSError):
        pipe.recv()  # nothing is ever sent
    os._exit(1)
