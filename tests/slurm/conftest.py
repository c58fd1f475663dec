"""Fixtures of the Slurm tests: one cluster for all of them, shut down at the end of the session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.slurm_cluster import Cluster, read_output
from tests.support.slurm_lab import HERE, Lab, list_queue, wait_until


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Start a cluster with the default nodes of `Cluster`.

    Its folder is the value of FREEZEBENCH_SLURM, which run.py sets.
    """
    made = Cluster(Path(os.environ["FREEZEBENCH_SLURM"]))
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture
def lab(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Return a function that creates labs; at the end, cancel their jobs and resume the nodes."""
    labs: list[Lab] = []

    def make(sweep: str, *options: str, **how: Any) -> Lab:
        folder = tmp_path / f"lab{len(labs)}"
        folder.mkdir()
        path = HERE / sweep if sweep.endswith(".toml") and "/" not in sweep else Path(sweep)
        labs.append(Lab(cluster, folder, str(path), options, **how))
        return labs[-1]

    yield make
    for each in labs:  # first, so that no job starts on a node that was drained
        each.end()
    for node in cluster.nodes:
        read_output("scontrol", "update", f"nodename={node}", "state=resume")
    wait_until(lambda: not list_queue(), 120, "an empty queue", lambda: "")


@pytest.fixture
def closed(cluster: Cluster) -> Iterator[Callable[[], None]]:
    """Drain all nodes; return a function that resumes them, so that jobs can start."""
    nodes = ",".join(cluster.nodes)
    read_output("scontrol", "update", f"nodename={nodes}", "state=drain", "reason=test")

    def opened() -> None:
        read_output("scontrol", "update", f"nodename={nodes}", "state=resume")

    yield opened
    opened()
