"""Run on two nodes that keeps its results despite a preemption and the loss of a node."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.launch.processes.replicas import execute_replicas
from bench.spec import Spec
from tests.support.slurm_cluster import Cluster, read_output
from tests.support.slurm_lab import Lab, list_queue, wait_until
from tests.support.tiny_runs import execute_run, load_essence

SETTINGS = """
timeout_min = 30
signal_delay_s = 5
partition = "wide"
cpus_per_task = 2
# The names of the nodes of this cluster are not known to the resolver.
setup = ["export MASTER_ADDR=127.0.0.1 GLOO_SOCKET_IFNAME=lo FREEZEBENCH_CHECKPOINT_SECONDS=1"]
"""


def count_steps(lab: Lab) -> int:
    """Return how many steps the running run has taken; 0 if none is running."""
    return max((beat["step"] for _, beat in lab.under_way()), default=0)


def test_a_run_on_two_nodes_survives_a_preemption_and_a_lost_node(
    lab: Callable[..., Lab], cluster: Cluster, tmp_path: Path
) -> None:
    here = lab("nodes.toml", "--replicas", "4", "--nodes", "2", settings=SETTINGS)
    here.send()
    wait_until(lambda: count_steps(here), 300, "steps", here.log)
    nodes = ",".join(cluster.wide)
    read_output("sbatch", "--partition=high", f"--nodelist={nodes}", "--output=/dev/null",
                "--wrap=sleep 1")  # fmt: skip
    interrupted = "job interrupted; checkpoints are written"
    wait_until(lambda: interrupted in here.log(), 120, "an interruption", here.log)
    (folder,) = (here.results / "runs").iterdir()
    assert (folder / "checkpoint.pt").exists()
    wait_until(lambda: count_steps(here), 300, "steps", here.log)
    (job,) = [line.split() for line in list_queue() if line.split()[1] == "RUNNING"]
    lost = read_output("scontrol", "show", "hostnames", job[2]).split()[1]  # not the first
    cluster.crash(lost)
    read_output("scontrol", "update", f"nodename={lost}", "state=down", "reason=test")
    wait_until(lambda: len(here.done()) == 1 and not list_queue(), 400, "end", here.log)
    cluster.revive(lost)
    (result,) = here.done().values()
    assert result["resumed"]
    compare(folder, here.results, tmp_path)


def compare(folder: Path, results: Path, place: Path) -> None:
    """Compare a run on two nodes with two undisturbed runs: on one machine, and in one process.

    On one machine, with as many processes, the record must be equal. In one process, the decisions
    must be equal, and the losses must be equal to a relative tolerance of 1e-3.
    """
    values = json.loads((folder / "spec.json").read_text())
    spec = Spec.from_dict({k: v for k, v in values.items() if k not in ("id", "cell")})
    four, one = spec.with_changes(nodes=1), spec.with_changes(nodes=1, replicas=1)
    assert four.id == spec.id
    execute_replicas(four, place)
    undisturbed, disturbed = load_essence(four, place), load_essence(spec, results)
    assert undisturbed == disturbed
    execute_run(one, place)
    alone = load_essence(one, place)
    for each in alone["decisions"]:
        assert each in disturbed["decisions"]
    assert len(alone["decisions"]) == len(disturbed["decisions"]) > 0
    losses = [[row["train_loss"] for row in run["epochs"]] for run in (disturbed, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
