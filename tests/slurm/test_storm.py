"""A sweep over three nodes ends complete, and to the bit, though everything happens to it."""

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

from bench.launch.in_process import run_inline
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
    """Watches runs made here and says nothing."""

    def started(self, spec: Any) -> None: ...
    def stepped(self, spec: Any, step: int, steps: int) -> None: ...
    def finished(self, spec: Any, result: Any) -> None: ...
    def failed(self, spec: Any, reason: str) -> None:
        raise AssertionError(f"{spec.label}: {reason}")


class Results(threading.Thread):
    """Notes when a result was first seen, and whether one was ever written again."""

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
    """Nodes on which another job runs."""
    found = [line.split() for line in list_queue() if " RUNNING " in line]
    return [node for number, _, node in found if number != job]


def go_on(process: int) -> None:
    """Let a process that stands still go on; Slurm may have done so already, and ended it."""
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


def test_storm(lab: Callable[..., Lab], cluster: Cluster, tmp_path: Path) -> None:
    here = lab("storm.toml", settings=SETTINGS)
    sweep = load_sweep(here.sweep, "laptop")
    specs = sweep.specs
    assert len(sweep.entries) >= 24
    began = time.monotonic()
    print(here.send())
    results = Results(here.results)
    results.start()

    def grid() -> list[str]:
        """Running jobs of the largest stage."""
        array = max(here.list_arrays(), key=lambda a: sum(map(len, a.packs)))
        return [number for number in list_running() if number in array.jobs]

    caught: dict[str, int] = {}

    def catch(jobs: dict[str, int], among: Callable[[], list[str]]) -> None:
        """Stop the process of each job's run that has made steps, so that it waits for its fate."""
        for _, told in here.under_way():
            job, process = told["job"], told["pid"]
            new = job not in jobs and process not in caught.values()
            if new and job in among():
                with suppress(ProcessLookupError):  # its run ended just now; a next one will come
                    os.kill(process, signal.SIGSTOP)
                    jobs[job] = process

    def three() -> dict[str, int]:
        catch(caught, grid)
        return caught if len(caught) == 3 else {}

    wait_until(three, 180, "three running jobs", here.log)
    first, second, third = sorted(caught)
    # One hits its time limit, of a minute from now on; Slurm ends it as it ends any. Its run
    # stands still until the limit is near.
    read_output("scontrol", "update", f"jobid={first}", "timelimit=1")
    threading.Timer(30, go_on, (caught[first],)).start()
    # One process is killed: the one that makes a run of the second job.
    os.kill(caught[second], signal.SIGKILL)
    # Two jobs are preempted, in the middle of a run.
    read_output("scontrol", "requeue", third)
    again: dict[str, int] = {}

    def next_run() -> dict[str, int]:
        catch(again, lambda: [second])
        return again

    wait_until(next_run, 60, "steps of the job's next run", here.log)
    read_output("scontrol", "requeue", second)
    # One slurmd is killed: a node with a job on it, whose processes live on beside the new copy.
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
    assert "cut off; checkpoints are written" in log  # the time limit
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
    outcome = run_inline(make_plan(specs, alone), alone, Quiet())
    assert len(outcome.finished) == len(specs)
    for spec in specs:
        here_, there = here.results / "runs" / spec.id, alone / "runs" / spec.id
        assert find_difference(read_reproducible(here_), read_reproducible(there)) == "", spec.label
