"""Processes that a soak disturbs, recognised by a variable in their environment."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Found:
    """Process of the soak: its id, its parent's, and its command line."""

    pid: int
    parent: int
    command: str


@dataclass
class Processes:
    """Python processes with `mark` (NAME=VALUE) in their environment, some stopped by SIGSTOP."""

    mark: str
    _stopped: dict[int, float] = field(default_factory=dict)

    def find(self) -> list[Found]:
        """Return the living processes, without zombies."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() not in (folder / "environ").read_bytes().split(b"\0"):
                    continue
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # the process has ended
            if state != "Z" and "python" in command.partition(" ")[0]:
                found.append(Found(int(folder.name), int(parent), command))
        return found

    def stop(self, pid: int, seconds: float) -> None:
        """Stop a process with SIGSTOP. `continue_due` continues it after `seconds`."""
        if send_signal(pid, signal.SIGSTOP):
            self._stopped[pid] = time.monotonic() + seconds

    def continue_due(self, every: bool = False) -> None:
        """Continue the stopped processes whose time is over, or all of them if `every`."""
        for pid, until in list(self._stopped.items()):
            if every or time.monotonic() >= until:
                send_signal(pid, signal.SIGCONT)
                del self._stopped[pid]

    def end(self) -> None:
        """Kill all processes."""
        self.continue_due(every=True)
        until = time.monotonic() + 20
        while (found := self.find()) and time.monotonic() < until:
            for process in found:
                send_signal(process.pid, signal.SIGKILL)
            time.sleep(0.1)


def send_signal(pid: int, number: int) -> bool:
    """Send a signal; return whether the process still existed."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
