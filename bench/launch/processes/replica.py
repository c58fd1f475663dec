"""Process of a run with replicas. It joins the others, executes the run and sends the outcome."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.errors import Stopped, UserError
from bench.launch.processes.messages import Failure, ProgressSender, ignore_interrupts, send
from bench.spec import Spec

PROGRESS_SECONDS = 0.5


@dataclass(frozen=True)
class ReplicaTask:
    """Task of one process of a run.

    spec: the run as plain values.
    meeting: path of the file through which the processes find each other. The file must not exist
        yet. On several machines, the processes use a store instead, and `meeting` is its HOST:PORT.
    attempt: number of the attempt, unique in that store. Used only with several machines.
    gpu: index of the GPU.
    """

    rank: int
    spec: dict[str, Any]
    results: Path
    meeting: str
    attempt: int
    gpu: int
    checkpoint_seconds: float


def run_replica(pipe: Connection, task: ReplicaTask, stopping: Any) -> None:
    """Join the other processes, execute the run and send its final message."""
    ignore_interrupts()
    threading.Thread(target=_end_with_parent, args=(pipe,), daemon=True).start()
    spec = Spec.from_dict(task.spec)
    if sys.platform == "linux" and spec.nodes == 1:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all processes are on this machine
    try:
        import torch

        from bench.distributed.process_group import join_processes
        from bench.training.loop import execute

        if spec.device == "cuda":
            torch.cuda.set_device(task.gpu)
        progress = ProgressSender(pipe, PROGRESS_SECONDS)
        store = _open_store(task, spec)
        with join_processes(task.rank, spec.replicas, store, spec.device) as group:
            try:
                result = execute(
                    spec,
                    task.results,
                    stop=stopping.is_set,
                    progress=progress if group.first else lambda step, steps: None,
                    checkpoint_seconds=task.checkpoint_seconds,
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


def _open_store(task: ReplicaTask, spec: Spec) -> Any:
    """Return the store in which the processes of this attempt find each other."""
    from torch._C._distributed_c10d import FileStore, PrefixStore

    from bench.distributed.machines import open_store

    if spec.nodes == 1:
        return FileStore(task.meeting, spec.replicas)
    return PrefixStore(f"attempt {task.attempt}", open_store(task.meeting))


def _send_failure(pipe: Connection, error: Exception) -> None:
    users = isinstance(error, UserError)
    reason = str(error) if users else f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    send(pipe, ("failed", Failure(reason, users, trace, peer=_is_lost_peer(error))))


def _is_lost_peer(error: Exception) -> bool:
    """Return whether an error may be a mere consequence of the end of another process."""
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _end_with_parent(pipe: Connection) -> None:
    """Exit at once when the parent dies.

    The lock of the parent is then released, so another process may start the run.
    """
    with suppress(EOFError, OSError):
        pipe.recv()  # blocks until the pipe is closed, since the parent sends no message
    os._exit(1)
