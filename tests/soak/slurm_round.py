"""Round of `make soak` on a Slurm cluster that runs on this machine."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import time
from contextlib import redirect_stderr
from pathlib import Path

from bench.launch.attempt import CHECKPOINT_VARIABLE
from bench.planning.sweep import Sweep
from tests.soak.known_results import KnownResults
from tests.soak.processes import Processes, send_signal
from tests.soak.tally import Tally
from tests.soak.tiny_sweeps import Round
from tests.soak.tracebacks import find_frame
from tests.support.slurm_cluster import Cluster, read_output
from tests.support.slurm_lab import Lab, list_queue, list_running

GAP_SECONDS = 2.5
MOST_DISTURBANCES = 25
PEACE_SECONDS = 900.0
SETTINGS = "timeout_min = 30\nsignal_delay_s = 5\n[packing]\nruns_per_job = 3\n"


class SlurmRound:
    """Sweep that is submitted again until all runs are done, and the disturbances of its jobs."""

    def __init__(
        self, this: Round, sweep: Sweep, file: Path, cluster: Cluster, tally: Tally, end: float
    ) -> None:
        """Prepare the round. Nothing is disturbed after `end`, in seconds of time.monotonic()."""
        self._this, self._sweep, self._tally, self._end = this, sweep, tally, end
        self._cluster = cluster
        self._lab = Lab(
            cluster, file.parent, str(file), environment={CHECKPOINT_VARIABLE: "0"},
            settings=SETTINGS,
        )  # fmt: skip
        mark = f"SLURM_CONF={cluster.environment['SLURM_CONF']}"
        self._processes = Processes(mark)
        self._done = 0

    def run(self) -> Path:
        """Execute the sweep; return its results folder."""
        known = KnownResults(self._lab.results, self._sweep, self._tally)
        sends = 0
        try:
            while not known.complete:
                sends += 1
                before = self._done
                with redirect_stderr(io.StringIO()):
                    self._lab.send()
                self._disturb()
                known.look(f"{self._this}, submission {sends}")
                if self._done == before and not known.complete:
                    self._tally.losses.append(
                        f"{self._this}: undisturbed jobs ended, but {known.missing} runs are not "
                        f"done; logs: {self._lab.results}/slurm/jobs"
                    )
                    break
        finally:
            self._processes.continue_due(every=True)
            self._lab.end()
        if frame := find_frame(self._lab.log()):
            self._tally.messages.append(f"{self._this}: {frame}; logs: {self._lab.results}/slurm")
        return self._lab.results

    def _disturb(self) -> None:
        """Disturb the jobs until the queue is empty."""
        draw = self._this.draw
        following = undisturbed_since = time.monotonic()
        while list_queue():
            time.sleep(0.5)
            now = time.monotonic()
            self._processes.continue_due()
            peace = now > self._end or self._done >= MOST_DISTURBANCES
            if not peace and now >= following:
                following = now + draw.expovariate(1 / GAP_SECONDS)
                undisturbed_since = now
                self._act()
            if now - undisturbed_since > PEACE_SECONDS:
                self._tally.losses.append(f"{self._this}: the queue is stuck: {list_queue()}")
                return

    def _act(self) -> None:
        """Disturb one process of a job, one job, one node, or all jobs by a preemption."""
        draw, roll = self._this.draw, self._this.draw.random()
        found = sorted(p.pid for p in self._processes.find() if p.pid != os.getpid())
        running = sorted(list_running())
        if not found or not running:
            return
        victim, job = draw.choice(found), draw.choice(running)
        if roll < 0.6:
            if send_signal(victim, signal.SIGKILL):
                self._count("SIGKILL")
        elif roll < 0.7:
            if send_signal(victim, signal.SIGTERM):
                self._count("SIGTERM")
        elif roll < 0.8:
            self._processes.stop(victim, draw.uniform(0.1, 4))
            self._count("SIGSTOP")
        elif roll < 0.88:
            read_output("scontrol", "requeue", job)
            self._count("requeue")
        elif roll < 0.95:
            nodes = f"--nodelist={','.join(self._cluster.nodes)}"  # all nodes of the runs
            command = ["sbatch", "--partition=high", nodes, "--output=/dev/null"]
            subprocess.run([*command, "--wrap=sleep 1"], capture_output=True, check=False)
            self._count("preemption")
        else:
            node = draw.choice(self._cluster.nodes)
            self._cluster.crash(node)
            time.sleep(1)
            self._cluster.revive(node)
            self._count("lost node")

    def _count(self, what: str) -> None:
        self._done += 1
        self._tally.note(self._this, what)
