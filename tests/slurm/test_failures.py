"""Slurm jobs after errors, kills, preemption, or loss of a node, the file system or W&B."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.cli.main import main
from tests.support.slurm_cluster import Cluster, read_output
from tests.support.slurm_lab import Lab, list_queue, list_running, wait_until

TWO_JOBS = "timeout_min = 30\nsignal_delay_s = 5\n[packing]\nruns_per_job = 3\n"
LONG = ("--epochs", "150")  # long enough to be still running when the test acts

FAILING = """
from pathlib import Path
from strategies.base import AtSteps, Strategy, Decision

class Failing(Strategy):
    name = "failing"
    def stages(self):
        return AtSteps(frozenset({2}))
    def decide(self, view):
        if Path("MARKER").exists():
            raise RuntimeError("test error")
        return [Decision(0, freeze=True)]
"""

METHODS = """
[[methods]]
name = "failing"
strategy = "FILE:Failing"

[[methods]]
name = "linear"
match = "failing"
"""


def test_a_failed_run_blocks_only_the_runs_that_need_it(
    lab: Callable[..., Lab], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = lab("tiny.toml", "--seeds", "2", settings=TWO_JOBS)
    marker, file = tmp_path / "marker", tmp_path / "failing.py"
    file.write_text(FAILING.replace("MARKER", str(marker)))
    text = Path(here.sweep).read_text() + METHODS.replace("FILE", str(file))
    here.sweep = str(tmp_path / "failing.toml")
    Path(here.sweep).write_text(text)
    marker.touch()
    here.send()
    wait_until(lambda: not list_queue(), 120, "end", here.log)
    assert len(here.done()) == 2
    out = here.run_command("status")
    assert "2 done, 2 failed, 2 blocked" in out
    assert "RuntimeError: test error; log: " in out
    assert "which failed: RuntimeError: test error" in out
    failed = next(here.results.glob("runs/*/traceback.txt")).parent.name
    assert main(["logs", failed[:8], "--results", str(here.results)]) == 0
    logs = capsys.readouterr().out
    assert "Traceback" in logs
    assert f"{failed} failed: RuntimeError" in logs  # in the job log
    marker.unlink()
    assert "2 runs" in here.run_command("retry", "--failed", "--yes", "--dirty")
    wait_until(lambda: len(here.done()) == 6 and not list_queue(), 120, "end", here.log)
    assert "6 done" in here.run_command("status")


def test_a_killed_job_is_requeued_and_finished_runs_are_mirrored(lab: Callable[..., Lab]) -> None:
    here = lab(
        "tiny.toml", "--seeds", "2", *LONG, settings=TWO_JOBS.replace("= 3", "= 1"),
        environment={"WANDB_MODE": "offline"},
    )  # fmt: skip
    here.send()
    beats = wait_until(lambda: len(b := here.under_way()) == 2 and b, 90, "steps", here.log)
    # Kill the processes that submitit and srun started, not their child that executes the run. One
    # of the two jobs has the id of their array, under which Slurm would requeue both.
    killed = [
        int(line) for line in read_output("pgrep", "-f", "submitit.core._submit").split()
        if f"SLURM_CONF={here.cluster.environment['SLURM_CONF']}" in (own := _read(line, "environ"))
        and _find(own, "SLURM_JOB_ID") == _find(own, "SLURM_ARRAY_JOB_ID")
        and "multiprocessing" not in _read(line, "cmdline")
    ]  # fmt: skip
    assert killed
    assert not set(killed) & {beat["pid"] for _, beat in beats}
    for number in killed:
        os.kill(number, signal.SIGKILL)
    wait_until(lambda: len(here.done()) == 2 and not list_queue(), 180, "end", here.log)
    assert "exit status 137; requeueing the job" in here.log()
    assert here.log().count("JobEnvironment(job_id=") == 3  # only one of the two starts again
    for folder in (here.results / "runs").iterdir():
        cell = (folder / "spec.json").read_text().partition('"cell": "')[2][:12]
        (file,) = folder.glob("wandb/offline-run-*/*.wandb")  # one file, though resumed
        assert cell.encode() in file.read_bytes()
        assert file.name == f"run-{folder.name}.wandb"


def _read(process: str, file: str) -> str:
    return Path(f"/proc/{process}/{file}").read_text(errors="replace").replace("\0", "\n")


def _find(environment: str, name: str) -> str:
    return environment.partition(f"\n{name}=")[2].partition("\n")[0]


def test_a_failing_mirror_does_not_affect_the_runs(lab: Callable[..., Lab], tmp_path: Path) -> None:
    unreachable = {
        "WANDB_MODE": "online", "WANDB_BASE_URL": "http://127.0.0.1:9",
        "WANDB_API_KEY": "0" * 40, "WANDB_CONFIG_DIR": str(tmp_path), "WANDB_INIT_TIMEOUT": "5",
    }  # fmt: skip
    here = lab("tiny.toml", "--seeds", "2", environment=unreachable)
    here.send()
    wait_until(lambda: len(here.done()) == 2 and not list_queue(), 240, "end", here.log)
    assert "was not mirrored" in here.log()
    assert "2 done" in here.run_command("status")


def test_runs_survive_a_temporary_loss_of_the_file_system(lab: Callable[..., Lab]) -> None:
    here = lab("tiny.toml", "--seeds", "2", *LONG)
    # Use a strategy whose runs read a file from the lost file system.
    text = Path(here.sweep).read_text().replace('name = "full"', 'name = "smartfrz"')
    here.sweep = str(here.folder / "tiny.toml")
    Path(here.sweep).write_text(text)
    here.send()
    wait_until(here.under_way, 90, "steps", here.log)
    away = here.results.with_name("away")
    here.results.rename(away)
    time.sleep(8)
    assert not here.results.exists()  # no process has created a new folder in its place
    away.rename(here.results)
    wait_until(lambda: len(here.done()) == 2 and not list_queue(), 180, "end", here.log)


def test_a_run_survives_a_preemption_and_the_crash_of_its_node(
    lab: Callable[..., Lab], cluster: Cluster
) -> None:
    here = lab("tiny.toml", "--seeds", "1", *LONG)
    here.send()
    wait_until(here.under_way, 90, "steps", here.log)
    (number,) = list_running()
    nodes = f"--nodelist={','.join(cluster.nodes)}"  # all nodes on which the run can be
    read_output("sbatch", "--partition=high", nodes, "--output=/dev/null", "--wrap=sleep 5")
    interrupted = "job interrupted; checkpoints are written"
    wait_until(lambda: interrupted in here.log(), 60, "an interruption", here.log)
    beat = wait_until(here.under_way, 90, "steps", here.log)[0][1]
    assert here.log().count("JobEnvironment(job_id=") == 2, number
    cluster.crash(beat["node"])
    # Slurm lists the job as running until it notices the lost node. No process executes the run.
    wait_until(lambda: "0 done, 1 queued" in here.run_command("status"), 20, "a dead run", here.log)
    wait_until(lambda: len(here.done()) == 1 and not list_queue(), 240, "end", here.log)
    cluster.revive(beat["node"])
    (result,) = here.done().values()
    assert result["resumed"]
