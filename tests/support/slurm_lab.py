"""Helpers of the Slurm tests: freezebench commands, the queue, and waiting with a timeout."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main
from bench.launch.slurm.submissions import Array, Submissions
from tests.support.paths import ROOT, TESTS
from tests.support.slurm_cluster import Cluster, read_output

HERE = TESTS / "slurm"


@dataclass
class Lab:
    """Results folder, cluster.toml, sweep and options that the commands of one test share."""

    cluster: Cluster
    folder: Path
    sweep: str
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    code: Path = ROOT
    settings: str = "timeout_min = 30\nsignal_delay_s = 5\n"

    def __post_init__(self) -> None:
        (self.folder / "cluster.toml").write_text(self.settings)

    @property
    def results(self) -> Path:
        """Results folder."""
        return self.folder / "results"

    def start(self, command: str, *more: str, **variables: str) -> subprocess.Popen[str]:
        """Start a freezebench command on the sweep in a new process."""
        words = [sys.executable, "-m", "bench.cli.main", command, self.sweep, *self.options, *more]
        environment = {
            **os.environ, **self.environment, **variables, "PYTHONPATH": str(self.code),
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        return subprocess.Popen(
            [*words, "--results", str(self.results)], cwd=self.folder, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(self, command: str, *more: str, **variables: str) -> str:
        """Run a command in a new process. Return its stdout. Fail if its status is not 0."""
        process = self.start(command, *more, **variables)
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, f"{command} {more}: {out}\n{err}"
        return out

    def run_command(self, command: str, *more: str, **variables: str) -> str:
        """Run a command in this process, which is faster. Return its stdout. Fail on an error."""
        words = [command, self.sweep, *self.options, *more, "--results", str(self.results)]
        if command in ("sweep", "retry"):
            words += ["--cluster", str(self.folder / "cluster.toml")]
        out = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
            for name, value in {**self.environment, **variables}.items():
                patch.setenv(name, value)
            status = main(words)
        assert status == 0, out.getvalue()
        return out.getvalue()

    def send(self, *more: str, **variables: str) -> str:
        """Submit the sweep, including uncommitted changes of the code."""
        return self.run_command(
            "sweep", "--launcher", "slurm", "--yes", "--dirty", *more, **variables
        )

    def list_arrays(self) -> list[Array]:
        """Return all job arrays that were submitted."""
        return Submissions(self.results).read_all()

    def log(self) -> str:
        """Return the contents of all job logs."""
        logs = sorted(self.results.glob("slurm/jobs/*/*_log.*"))
        return "\n".join(f"== {path.name}\n{path.read_text()}" for path in logs)

    def done(self) -> dict[str, dict[str, Any]]:
        """Return the results of all finished runs by run id."""
        found = self.results.glob("runs/*/result.json")
        return {path.parent.name: json.loads(path.read_text()) for path in found}

    def progress(self, run: Path) -> Mapping[str, Any]:
        """Return the heartbeat of a run, or {} if there is none."""
        try:
            values: Mapping[str, Any] = json.loads((run / "progress.json").read_text())
        except (OSError, ValueError):
            return {}
        return values

    def under_way(self) -> list[tuple[Path, Mapping[str, Any]]]:
        """Return the folders and heartbeats of the running runs that have taken a step."""
        found = [
            (p.parent, self.progress(p.parent)) for p in self.results.glob("runs/*/progress.json")
        ]
        return [(folder, beat) for folder, beat in found if beat.get("step")]

    def end(self) -> None:
        """Cancel all jobs of this test."""
        for array in self.list_arrays():
            read_output("scancel", f"--name={array.name}")


def list_queue() -> list[str]:
    """Return the lines of squeue: job id, state and node."""
    return read_output("squeue", "-h", "-r", "-o", "%i %T %N").splitlines()


def list_running() -> list[str]:
    """Return the ids of running jobs."""
    return [line.split()[0] for line in list_queue() if line.split()[1] == "RUNNING"]


def wait_until(there: Callable[[], Any], seconds: float, what: str, log: Callable[[], str]) -> Any:
    """Wait until `there` returns a true value and return it. Fail with the logs after `seconds`."""
    until = time.monotonic() + seconds
    while not (found := there()):
        assert time.monotonic() < until, f"no {what} in {seconds} s; queue: {list_queue()}\n{log()}"
        time.sleep(0.3)
    return found
