"""What every job asks of Slurm: a TOML file, checked before anything is sent.

Names are those of submitit's Slurm executor; docs/cluster.md lists them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.launch.capacity import count_gpus, count_threads, uses_gpus
from bench.options import Flag, Integer, Option, Real, Text, check_options
from bench.spec import Spec

DEFAULT_FILE = "cluster.toml"


class LinesOption(Option):
    """A list of texts."""

    def describe_valid(self) -> str:
        """In words."""
        return "a list of texts"

    def accept(self, value: Any) -> list[str]:
        """The list; raises ValueError for anything else."""
        if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
            raise ValueError
        return list(value)


class TableOption(Option):
    """A table of texts, numbers and flags."""

    def describe_valid(self) -> str:
        """In words."""
        return "a table of texts, numbers and true or false"

    def accept(self, value: Any) -> dict[str, Any]:
        """The table; raises ValueError for anything else."""
        if not isinstance(value, dict):
            raise ValueError
        if not all(isinstance(item, str | int | float | bool) for item in value.values()):
            raise ValueError
        return dict(value)


# What goes to submitit as it is; "" and 0 leave it out, so that the cluster's own default holds.
RESOURCES: Mapping[str, Option] = {
    "timeout_min": Integer(60, low=1, high=525_600, doc="time limit of a job, whole minutes"),
    "partition": Text("", doc="partition"),
    "account": Text("", doc="account to charge"),
    "qos": Text("", doc="quality of service"),
    "constraint": Text("", doc="features a node must have"),
    "cpus_per_task": Integer(1, low=1, high=4096, doc="cores of a job"),
    "gpus_per_node": Integer(0, low=0, high=64, doc="GPUs of a job"),
    "gres": Text("", doc="generic resources, where gpus_per_node does not do"),
    "mem_gb": Real(0.0, low=0.0, high=1e5, doc="memory of a job, GB"),
    "exclude": Text("", doc="nodes to leave out"),
    "nodelist": Text("", doc="nodes to use"),
    "exclusive": Flag(False, doc="no other job on the node, for undisturbed times"),
    "array_parallelism": Integer(256, low=1, high=100_000, doc="jobs of an array at a time"),
    "signal_delay_s": Integer(
        90, low=1, high=86_400, doc="seconds before the time limit at which a checkpoint is written"
    ),
    "mail_type": Text("", doc="when Slurm sends mail"),
    "mail_user": Text("", doc="to whom"),
    "setup": LinesOption([], doc="shell lines before the job, as `module load cuda`"),
    "additional_parameters": TableOption({}, doc="further options of sbatch"),
}
PACKING: Mapping[str, Option] = {
    "minutes_per_job": Real(0.0, low=0.0, high=1e6, doc="work of a job; 0 = half its time limit"),
    "runs_per_job": Integer(0, low=0, doc="most runs in a job, one after the other; 0 = any"),
    "max_jobs": Integer(1000, low=1, high=1_000_000, doc="most jobs of an array"),
    "max_requeues": Integer(20, low=0, high=1000, doc="how often a job may go on after a cut-off"),
}
# Options of sbatch that the launcher sets itself.
OURS = (
    "array", "chdir", "comment", "dependency", "error", "hold", "job-name", "nodes", "ntasks",
    "ntasks-per-node", "open-mode", "output", "requeue", "no-requeue", "signal", "time", "export",
)  # fmt: skip


@dataclass(frozen=True)
class ClusterSettings:
    """A checked cluster file: `resources` goes to submitit, `packing` is ours."""

    file: str
    resources: Mapping[str, Any]
    packing: Mapping[str, Any]

    @property
    def timeout_min(self) -> int:
        """Time limit of a job, minutes."""
        return int(self.resources["timeout_min"])

    @property
    def seconds_per_job(self) -> float:
        """How much work a job should get, seconds."""
        minutes = self.packing["minutes_per_job"] or self.timeout_min / 2
        return float(minutes) * 60

    def at_once(self, specs: Sequence[Spec]) -> int:
        """How many runs a job makes at a time: as many as its GPUs allow, on CPU its cores."""
        if uses_gpus(specs):
            return max(int(self.resources["gpus_per_node"]) // count_gpus(specs), 1)
        return max(int(self.resources["cpus_per_task"]) // count_threads(specs), 1)

    def check_for(self, specs: Sequence[Spec]) -> None:
        """Raise UserError if a job as described here cannot make these runs."""
        gpus, gres = self.resources["gpus_per_node"], self.resources["gres"]
        if uses_gpus(specs):
            wanted = count_gpus(specs)
            if not gpus and not gres:
                raise UserError(
                    f"{self.file}: the runs need a GPU and a job has none; set gpus_per_node = "
                    f"{wanted}"
                )
            # What a gres line grants is the cluster's own language; the run itself will see.
            if gpus and gpus < wanted:
                raise UserError(
                    f"{self.file}: the runs use {wanted} GPUs each and a job has {gpus}; set "
                    f"gpus_per_node = {wanted}"
                )
        threads = count_threads(specs)
        if self.resources["cpus_per_task"] < threads:
            raise UserError(
                f"{self.file}: the runs use {threads} threads and a job has "
                f"{self.resources['cpus_per_task']} cores; set cpus_per_task = {threads}"
            )

    def parameters(self) -> dict[str, Any]:
        """What submitit's executor is given, by its own names."""
        given = {k: v for k, v in self.resources.items() if v not in ("", 0, 0.0, False, [], {})}
        given["time"] = given.pop("timeout_min")  # whole minutes: submitit reckons with them
        if "mem_gb" in given:
            given["mem"] = f"{round(given.pop('mem_gb') * 1024)}M"
        return given


def load_settings(file: str) -> ClusterSettings:
    """Read and check a cluster file; '' is cluster.toml of this folder.

    Raises UserError that names the file, the key, the value and the valid ones.
    """
    path = Path(file or DEFAULT_FILE).expanduser()
    try:
        given = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; it says what a job asks of Slurm: copy "
            "docs/cluster.example.toml there, or give --cluster FILE"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None
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
        if key.replace("_", "-") in OURS:
            raise UserError(
                f"{settings.file}: additional_parameters may not hold {key!r}, which the launcher "
                "sets itself" + ("; use timeout_min" if key == "time" else "")
            )
    delay = settings.resources["signal_delay_s"]
    if delay >= settings.timeout_min * 60:
        raise UserError(
            f"{settings.file}: signal_delay_s = {delay} leaves no time in jobs of "
            f"{settings.timeout_min} min; make it smaller or timeout_min larger"
        )
