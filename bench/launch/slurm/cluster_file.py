"""Cluster file: the resources that each job requests, in TOML, checked before jobs are submitted.

The keys are parameters of submitit's Slurm executor, except in the table [packing].
cluster.example.toml lists all keys.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import expand_home, read_toml
from bench.launch.capacity import count_gpus, count_threads, uses_gpus
from bench.options import Flag, Integer, Option, Real, Text, check_options
from bench.spec import Spec

DEFAULT_FILE = "cluster.toml"
EXAMPLE = Path(__file__).with_name("cluster.example.toml")  # in the wheel too, which has no docs/


class LinesOption(Option):
    """List of strings."""

    def describe_valid(self) -> str:
        """Return the valid values in words."""
        return "a list of strings"

    def accept(self, value: Any) -> list[str]:
        """Return a copy of the list. Raise ValueError for any other value."""
        if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
            raise ValueError
        return list(value)


class TableOption(Option):
    """Table of strings, numbers and booleans."""

    def describe_valid(self) -> str:
        """Return the valid values in words."""
        return "a table of strings, numbers and booleans"

    def accept(self, value: Any) -> dict[str, Any]:
        """Return a copy of the table. Raise ValueError for any other value."""
        if not isinstance(value, dict):
            raise ValueError
        if not all(isinstance(item, str | int | float | bool) for item in value.values()):
            raise ValueError
        return dict(value)


# Parameters passed to submitit unchanged. "" and 0 are not passed, so that the cluster's default
# applies.
RESOURCES: Mapping[str, Option] = {
    "timeout_min": Integer(60, low=1, high=525_600, doc="time limit of a job in whole minutes"),
    "partition": Text("", doc="partition"),
    "account": Text("", doc="account to charge"),
    "wckey": Text("", doc="workload characterisation key, on clusters that track them"),
    "qos": Text("", doc="quality of service"),
    "constraint": Text("", doc="required node features"),
    "cpus_per_task": Integer(1, low=1, high=4096, doc="CPU cores per node of a job"),
    "gpus_per_node": Integer(0, low=0, high=64, doc="GPUs per node of a job"),
    "gres": Text("", doc="generic resources, if gpus_per_node is not enough"),
    "mem_gb": Real(0.0, low=0.0, high=1e5, doc="memory per node of a job, GB"),
    "exclude": Text("", doc="nodes to exclude"),
    "nodelist": Text("", doc="nodes to use"),
    "exclusive": Flag(False, doc="no other jobs on the node, for undisturbed times"),
    "array_parallelism": Integer(256, low=1, high=100_000, doc="maximum running jobs per array"),
    "signal_delay_s": Integer(
        90, low=1, high=86_400, doc="seconds between the checkpoint signal and the time limit"
    ),
    "mail_type": Text("", doc="events that Slurm sends mail for"),
    "mail_user": Text("", doc="recipient of the mail"),
    "setup": LinesOption([], doc="shell commands before the job, such as `module load cuda`"),
    "additional_parameters": TableOption({}, doc="more options of sbatch"),
}
PACKING: Mapping[str, Option] = {
    "minutes_per_job": Real(0.0, low=0.0, high=1e6, doc="work per job; 0 = half the time limit"),
    "runs_per_job": Integer(0, low=0, doc="maximum number of runs per job; 0 = no limit"),
    "max_jobs": Integer(1000, low=1, high=1_000_000, doc="maximum number of jobs per array"),
    "max_requeues": Integer(20, low=0, high=1000, doc="how often a job may be requeued"),
}
# Options of sbatch that the launcher sets.
OURS = (
    "array", "chdir", "dependency", "error", "hold", "job-name", "nodes", "open-mode", "output",
    "requeue", "signal",
)  # fmt: skip
ONE_TASK = "a job has one task on each node"
ONE_CLUSTER = (
    "freezebench finds and releases jobs on the default cluster only; run it on a login node of "
    "the other cluster"
)
# Options of sbatch that additional_parameters may not contain, and why.
REFUSED: Mapping[str, str] = {
    **dict.fromkeys(OURS, "the launcher sets it"),
    "time": "the launcher sets it; use timeout_min",
    "ntasks": ONE_TASK,
    "ntasks-per-node": ONE_TASK,
    "no-requeue": "the launcher requeues jobs that were interrupted",
    "export": "srun must pass on the variables that the job sets; use `export` in setup",
    "clusters": ONE_CLUSTER,
    "M": ONE_CLUSTER,
}


@dataclass(frozen=True)
class ClusterSettings:
    """Checked cluster file: `resources` for submitit, `packing` for the launcher."""

    file: str
    resources: Mapping[str, Any]
    packing: Mapping[str, Any]

    @property
    def timeout_min(self) -> int:
        """Time limit of a job in minutes."""
        return int(self.resources["timeout_min"])

    @property
    def seconds_per_job(self) -> float:
        """Target duration of a job in seconds."""
        minutes = self.packing["minutes_per_job"] or self.timeout_min / 2
        return float(minutes) * 60

    def count_at_once(self, specs: Sequence[Spec]) -> int:
        """Return how many runs a job executes at a time, limited by its GPUs or by its CPU cores.

        A job of several nodes executes one run at a time.
        """
        if any(spec.nodes > 1 for spec in specs):
            return 1
        if uses_gpus(specs):
            return max(int(self.resources["gpus_per_node"]) // count_gpus(specs), 1)
        return max(int(self.resources["cpus_per_task"]) // count_threads(specs), 1)

    def check_for(self, specs: Sequence[Spec]) -> None:
        """Raise UserError if a job with these resources cannot execute the runs."""
        gpus, gres = self.resources["gpus_per_node"], self.resources["gres"]
        if uses_gpus(specs):
            wanted = count_gpus(specs)
            if not gpus and not gres:
                raise UserError(
                    f"{self.file}: the runs need a GPU, but jobs request none; set gpus_per_node = "
                    f"{wanted}"
                )
            # The meaning of gres depends on the cluster, so the run itself checks its GPUs.
            if gpus and gpus < wanted:
                raise UserError(
                    f"{self.file}: the runs need {wanted} GPUs each, but jobs request {gpus}; set "
                    f"gpus_per_node = {wanted}"
                )
        # An array may contain any part of the runs, so each run must fit beside others like it.
        threads = max((self.count_at_once([s]) * count_threads([s]) for s in specs), default=1)
        if self.resources["cpus_per_task"] < threads:
            raise UserError(
                f"{self.file}: the runs that a job executes at a time use {threads} threads, but "
                f"cpus_per_task = {self.resources['cpus_per_task']}; set cpus_per_task = {threads}"
            )

    def collect_parameters(self) -> dict[str, Any]:
        """Return the parameters of submitit's executor, by submitit's names."""
        given = {k: v for k, v in self.resources.items() if v not in ("", 0, 0.0, False, [], {})}
        given["time"] = given.pop("timeout_min")  # submitit computes with whole minutes
        if "mem_gb" in given:
            given["mem"] = f"{round(given.pop('mem_gb') * 1024)}M"
        # Without None, submitit sends --wckey=submitit, which clusters that enforce wckeys reject.
        given.setdefault("wckey", None)
        return given


def load_settings(file: str) -> ClusterSettings:
    """Read and check a cluster file; '' means cluster.toml in the current folder.

    Raises UserError that names the file, the key, the value and the valid values.
    """
    path = expand_home(file or DEFAULT_FILE)
    if not path.exists():
        raise UserError(
            f"{path} does not exist; run `cp {shlex.quote(str(EXAMPLE))} {shlex.quote(str(path))}` "
            "and set the resources of a job in it, or pass --cluster FILE"
        )
    given = read_toml(path, str(path))
    packing = given.pop("packing", {})
    if not isinstance(packing, dict):
        raise UserError(f"{path}: packing = {packing!r} is not valid; write a table [packing]")
    settings = ClusterSettings(
        str(path),
        check_options(str(path), RESOURCES, given),
        check_options(f"{path} [packing]", PACKING, packing),
    )
    _check_together(settings)
    return settings


def _check_together(settings: ClusterSettings) -> None:
    for key in settings.resources["additional_parameters"]:
        name = key.replace("_", "-")
        for option, reason in REFUSED.items():
            if name and option.startswith(name):  # sbatch accepts abbreviations
                start = f"{settings.file}: additional_parameters may not contain {key!r}"
                raise UserError(f"{start}, because {reason}")
    memory = settings.resources["mem_gb"]
    if 0 < memory < 1 / 1024:
        raise UserError(
            f"{settings.file}: mem_gb = {memory} is less than 1 MB, which Slurm reads as all "
            "memory of the node; give GB, for example mem_gb = 8"
        )
    delay = settings.resources["signal_delay_s"]
    if delay >= settings.timeout_min * 60:
        raise UserError(
            f"{settings.file}: signal_delay_s = {delay} leaves no time to run in jobs of "
            f"{settings.timeout_min} min; decrease it or increase timeout_min"
        )
