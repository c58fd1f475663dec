"""Fork server that starts the processes of a launch."""

from __future__ import annotations

import multiprocessing.forkserver
import multiprocessing.resource_tracker
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from bench.errors import ProcessLost
from bench.launch.processes.messages import PRELOADED

START_TRIES = 6  # per process, because someone may kill the fork server again
AGAIN = "run the same command again to resume from the last checkpoint"
RETRY_SECONDS = 0.2
DEATHS = (EOFError, ConnectionError, FileNotFoundError)  # errors of a server that was killed
_blocked: set[int] = {signal.SIGINT}  # signals that the fork server and its processes block


def start_server(*signals: int) -> None:
    """Start the fork server, which imports PRELOADED once for all processes.

    The fork server and its processes block SIGINT and `signals`. These signals are meant for the
    launcher only, which tells the processes to stop. A running fork server is kept, and does not
    block further signals. If it was killed, a new one blocks the signals of all calls so far.
    """
    _blocked.update(signals)
    with _block_signals(_blocked):
        multiprocessing.resource_tracker.ensure_running()
    with _block_signals(_blocked):  # again, because ensure_running() unblocks SIGINT and SIGTERM
        multiprocessing.forkserver.set_forkserver_preload(PRELOADED)
        multiprocessing.forkserver.ensure_running()


def start_process(
    context: Any, run: Callable[..., None], *arguments: Any
) -> tuple[Any, Connection]:
    """Start a process through the fork server, with up to START_TRIES tries.

    context: multiprocessing's forkserver context.
    run: function to call in the process, with a pipe and the arguments.
    Returns the process and the launcher's end of the pipe. Raises ProcessLost if the last try fails
    because the server was killed, and OSError if it fails for another reason.
    """
    attempt = 1
    while True:
        start_server()
        ours, theirs = context.Pipe()
        process = context.Process(target=run, args=(theirs, *arguments))
        try:
            process.start()
            return process, ours
        except (EOFError, OSError) as error:  # the server may have started the process
            ours.close()  # ends that process
            if attempt == START_TRIES and not isinstance(error, DEATHS):
                raise  # for example, too many files are open
            if attempt == START_TRIES:
                raise ProcessLost(
                    "a process could not be started, because the fork server was killed "
                    f"{START_TRIES} times; {AGAIN}"
                ) from error
            attempt += 1
            time.sleep(RETRY_SECONDS)  # until the system reports the death of the server
        finally:
            theirs.close()


@contextmanager
def _block_signals(signals: Iterable[int]) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # a worker has blocked some already
