"""Sweep on three nodes that survives all kinds of failures and gives identical results."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.launch.pool import Pool
from bench.planning.plan import make_plan
from bench.planning.sweep import load_sweep
from bench.results.comparison import find_difference, read_reproducible
from tests.support.slurm_cluster import Cluster, read_output
from tests.support.slurm_lab import Lab, list_queue, list_running, wait_until

SETTINGS = """
timeout_min = 30
signal_delay_s = 20
[packing]
max_jobs = 4
minutes_per_job = 0.01
"""


class Quiet:
    """Watcher that prints nothing, and raises if a run fails."""

    def started(self, spec: Any) -> None: ...
    def stepped(self, spec: Any, step: int, steps: int) -> None: ...
    def finished(self, spec: Any, result: Any) -> None: ...
    def found(self, spec: Any, result: Any) -> None: ...
    def failed(self, spec: Any, reason: str) -> None:
        raise AssertionError(f"{spec.label}: {reason}")


class Results(threading.Thread):
    """Thread that records when each result was written, and which results were written again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder, self.first, self.again = folder, dict[str, int](), set[str]()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.5):
            for path in self._folder.glob("runs/*/result.json"):
                written = path.stat().st_mtime_ns
                if self.first.setdefault(path.parent.name, written) != written:
                    self.again.add(path.parent.name)


def nodes_without(job: str) -> list[str]:
    """Return the nodes on which other jobs are running."""
    found = [line.split() for line in list_queue() if " RUNNING " in line]
    return [node for number, _, node in found if number != job]


def resume_process(process: int) -> None:
    """Send SIGCONT to a stopped process, unless Slurm has already continued and ended it."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


def test_a_sweep_survives_kills_preemption_time_limits_and_a_lost_node(
    lab: Callable[..., Lab], cluster: Cluster, tmp_path: Path
) -> None:
    here = lab("storm.toml", settings=SETTINGS)
    sweep = load_sweep(here.sweep, "laptop")
    specs = sweep.specs
    assert len(sweep.entries) >= 24
    began = time.monotonic()
    print(here.send())
    results = Results(here.results)
    results.start()

    def grid() -> list[str]:
        """Return the running jobs of the largest array."""
        array = max(here.list_arrays(), key=lambda a: sum(map(len, a.packs)))
        return [number for number in list_running() if number in array.jobs]

    caught: dict[str, int] = {}

    def catch(jobs: dict[str, int], among: Callable[[], list[str]]) -> None:
        """Stop the runs of further jobs in `among` by SIGSTOP, once they have taken a step.

        Add their processes to `jobs`, by job id.
        """
        for _, beat in here.under_way():
            job, process = beat["job"], beat["pid"]
            new = job not in jobs and process not in caught.values()
            if new and job in among():
                with suppress(ProcessLookupError):  # the run has just ended; the next one will do
                    os.kill(process, signal.SIGSTOP)
                    jobs[job] = process

    def three() -> dict[str, int]:
        catch(caught, grid)
        return caught if len(caught) == 3 else {}

    wait_until(three, 180, "three running jobs", here.log)
    first, second, third = sorted(caught)
    # The first job gets a time limit of one minute. Its run stays stopped until shortly before the
    # limit.
    read_output("scontrol", "update", f"jobid={first}", "timelimit=1")
    threading.Timer(30, resume_process, (caught[first],)).start()
    # Kill the process that executes a run of the second job.
    os.kill(caught[second], signal.SIGKILL)
    # Requeue two jobs in the middle of a run, as a preemption does.
    read_output("scontrol", "requeue", third)
    again: dict[str, int] = {}

    def next_run() -> dict[str, int]:
        catch(again, lambda: [second])
        return again

    wait_until(next_run, 60, "steps of the job's next run", here.log)
    read_output("scontrol", "requeue", second)
    # Kill the slurmd of a node with a job. Its processes keep running while Slurm requeues the job.
    node = wait_until(lambda: nodes_without(first), 60, "a running job", here.log)[0]
    cluster.lose(node)
    wait_until(
        lambda: "down" in read_output("sinfo", "-h", "-n", node, "-o", "%T"),
        60,
        "lost node",
        here.log,
    )
    print(here.run_command("status"))
    cluster.revive(node)
    wait_until(lambda: len(here.done()) == len(specs) and not list_queue(), 400, "end", here.log)
    results.over.set()
    print(f"storm: {time.monotonic() - began:.0f} s")

    log = here.log()
    assert "job interrupted; checkpoints are written" in log  # the time limit
    assert "exit code -9" in log  # the killed process
    starts = re.findall(r"Starting with JobEnvironment\(job_id=(\w+)", log)
    assert starts.count(second) >= 2
    assert starts.count(third) >= 2
    assert starts.count(first) >= 2
    assert not results.again  # no result was written twice
    assert any(result["resumed"] for result in here.done().values())
    print(here.run_command("status"))

    alone = tmp_path / "alone"
    alone.mkdir()
    outcome = Pool(make_plan(specs, alone), alone, 2, Quiet()).run()
    assert len(outcome.finished) == len(specs)
    for spec in specs:
        here_, there = here.results / "runs" / spec.id, alone / "runs" / spec.id
        assert find_difference(read_reproducible(here_), read_reproducible(there)) == "", spec.label
