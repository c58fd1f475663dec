"""Round of the soak with the local launcher, which is started again until all runs are done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from bench.launch.attempt import CHECKPOINT_VARIABLE
from bench.planning.sweep import Sweep
from tests.soak.disk import Disk
from tests.soak.known_results import KnownResults
from tests.soak.processes import Found, Processes, send_signal
from tests.soak.tally import Tally
from tests.soak.tiny_sweeps import Round
from tests.soak.tracebacks import find_frame
from tests.support.paths import ROOT

GAP_SECONDS = 0.6  # mean time between two disturbances
MOST_PATIENCE_SECONDS = 5.0  # longest wait for a run that takes steps, in two of three cases
MOST_DISTURBANCES = 80  # of a round; then its runs end in peace
PEACE_SECONDS = 900.0  # time in which an undisturbed launcher must end
MARK = "FREEZEBENCH_SOAK"


class LocalRound:
    """Launcher, its processes and the disturbances of one round."""

    def __init__(
        self, this: Round, sweep: Sweep, file: Path, disk: Disk, tally: Tally, end: float
    ) -> None:
        """Prepare the round. Nothing is disturbed after `end`, in seconds of time.monotonic()."""
        self._this, self._sweep, self._file, self._disk = this, sweep, file, disk
        self._tally, self._end = tally, end
        self._results = disk.path / "results"
        self._log = file.with_name("launcher.log")
        self._value = f"{os.getpid()}-{this.number}"
        self._processes = Processes(f"{MARK}={self._value}")
        self._done = 0

    def run(self) -> Path:
        """Execute the sweep; return its results folder."""
        known = KnownResults(self._results, self._sweep, self._tally)
        attempt = 0
        try:
            while not known.complete:
                attempt += 1
                before = self._done
                status = self._launch(attempt)
                known.look(f"{self._this}, attempt {attempt}")
                if self._done == before and not known.complete:
                    self._tally.losses.append(
                        f"{self._this}: an undisturbed launcher ended with {status}, but "
                        f"{known.missing} runs are not done; log: {self._log}"
                    )
                    break
        finally:
            self._disk.free_if_due(now=True)
            self._processes.end()
        return self._results

    def _launch(self, attempt: int) -> int:
        """Start the launcher and disturb it until it ends; return its exit status."""
        command = [sys.executable, "-m", "bench.cli.main", "sweep", str(self._file), "--no-report"]
        environment = {
            **os.environ, MARK: self._value, "OMP_NUM_THREADS": "1", CHECKPOINT_VARIABLE: "0",
        }  # fmt: skip
        with self._log.open("a") as log:
            log.write(f"== attempt {attempt}\n")
            log.flush()
            start = log.tell()
            launcher = subprocess.Popen(
                [*command, "--workers", "2", "--results", str(self._results)],
                cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            self._disturb(launcher)
        self._check_messages(self._log.read_text()[start:])
        return launcher.returncode

    def _disturb(self, launcher: subprocess.Popen[bytes]) -> None:
        draw = self._this.draw
        following = time.monotonic() + draw.expovariate(1 / GAP_SECONDS)
        undisturbed_since, patience = time.monotonic(), MOST_PATIENCE_SECONDS
        while launcher.poll() is None:
            time.sleep(0.05)
            now = time.monotonic()
            self._processes.continue_due()
            self._disk.free_if_due()
            peace = now > self._end or self._done >= MOST_DISTURBANCES
            wanted = now >= following + patience or (now >= following and self._is_training())
            if wanted and not peace:
                following = now + draw.expovariate(1 / GAP_SECONDS)
                patience = draw.choice((0, MOST_PATIENCE_SECONDS, MOST_PATIENCE_SECONDS))
                undisturbed_since = now
                self._act(launcher.pid)
            if now - undisturbed_since > PEACE_SECONDS:
                commands = "; ".join(p.command[:80] for p in self._processes.find())
                self._tally.losses.append(f"{self._this}: stuck with {commands}; {self._log}")
                self._processes.end()
        self._processes.continue_due(every=True)
        self._disk.free_if_due(now=True)

    def _is_training(self) -> bool:
        """Return whether a run has written a checkpoint in the last second."""
        recent = time.time() - 1
        for file in self._results.glob("runs/*/checkpoint.pt"):
            with suppress(OSError):  # the run has just ended
                if file.stat().st_mtime > recent:
                    return True
        return False

    def _act(self, launcher: int) -> None:
        """Disturb one process, all processes or the disk, at random."""
        draw, found = self._this.draw, self._processes.find()
        roll, victim = draw.random(), self._choose(found, launcher)
        if victim is None:
            return
        if roll < 0.6:
            if send_signal(victim, signal.SIGKILL):
                self._count("SIGKILL")
        elif roll < 0.63:
            for process in found:
                if send_signal(process.pid, signal.SIGKILL):
                    self._count("SIGKILL")
        elif roll < 0.75:
            if send_signal(victim, signal.SIGTERM):
                self._count("SIGTERM")
        elif roll < 0.91 or self._disk.reason:
            self._processes.stop(victim, draw.uniform(0.1, 4))
            self._count("SIGSTOP")
        elif not self._disk.full:
            self._disk.fill(draw.uniform(0.2, 3))
            self._count("full disk")

    def _choose(self, found: list[Found], launcher: int) -> int | None:
        """Draw the id of a process to disturb. Return None if there is none of the drawn kind.

        In nine of ten cases, the process executes a run. Otherwise it is the launcher or a child of
        the launcher. In its first seconds, a launcher has no runs, so it is rarely killed then.
        """
        runs = [p.pid for p in found if p.parent != launcher and p.pid != launcher]
        others = [p.pid for p in found if p.pid not in runs]
        pids = sorted(runs if self._this.draw.random() < 0.9 else others)
        return self._this.draw.choice(pids) if pids else None

    def _count(self, what: str) -> None:
        self._done += 1
        self._tally.note(self._this, what)

    def _check_messages(self, output: str) -> None:
        """Record a traceback or an internal error of the launcher."""
        internal = (line for line in output.splitlines() if "internal error" in line)
        if error := find_frame(output) or next(internal, None):
            self._tally.messages.append(f"{self._this}: {error}; log: {self._log}")
