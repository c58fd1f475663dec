"""Folder of a run and its files.

spec.json         the spec, with the run's id and cell
environment.json  versions, device, commit, threads
epochs.jsonl      one line per epoch
decisions.jsonl   one line per layer and freezing stage, or one per stage (decisions.py)
checkpoint.pt     state to resume from, deleted when the run is done
model.safetensors trained weights, if another run needs them
trace.safetensors recordings of the strategy, if any
evaluation.npz    correctness of each evaluation sample (evaluation_file.py)
result.json       written last and atomically; a run with this file is done
failure.json      reason why the last attempt failed
traceback.txt     traceback of the last attempt, if it failed
progress.json     heartbeat of the running process (bench/results/heartbeat.py)
lock              lock file, held by the process that executes the run
retime.json       result of `freezebench retime`, if the run was timed again
repeat/           files of a second execution in progress, which keeps the weights

bench/results/run_status.py derives the status of a run from these files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import explain_errors, hold_lock, read_json, write_atomically
from bench.spec import Spec

REPEAT = "repeat"


class RunFolder:
    """Folder of one run, `runs/ID` in a results folder."""

    def __init__(self, results: Path, run_id: str) -> None:
        self.path = results / "runs" / run_id

    @property
    def done(self) -> bool:
        """Whether the run has a result. A diverged run has a result too."""
        with explain_errors(self.path):
            return (self.path / "result.json").exists()

    @property
    def checkpoint(self) -> Path:
        """Path of the checkpoint, which is deleted when the run is done."""
        return self.path / "checkpoint.pt"

    @property
    def model(self) -> Path:
        """Path of the trained weights, which exist if the spec keeps them."""
        return self.path / "model.safetensors"

    def is_complete(self, spec: Spec) -> bool:
        """Return whether the run has a result and, if its spec keeps the weights, the weights."""
        return self.done and (not spec.keep_model or self.model.exists() or self.diverged)

    @property
    def diverged(self) -> bool:
        """Whether the run's loss or a weight became infinite or NaN."""
        return self.done and self.result()["status"] == "diverged"

    def result(self) -> dict[str, Any]:
        """Read the result. Raise UserError if it is missing or damaged."""
        return read_json(self.path / "result.json")

    def read_spec(self) -> Spec:
        """Read the spec. Raise UserError if it is missing, damaged or made by another release."""
        values = read_json(self.path / "spec.json")
        try:
            return Spec.from_dict({k: v for k, v in values.items() if k not in ("id", "cell")})
        except UserError as error:
            raise UserError(
                f"{self.path}: spec.json does not fit this release ({error}); use the release that "
                "made the run, or move this folder out of the results folder"
            ) from None

    def write_spec(self, spec: Spec) -> None:
        """Write spec.json, with the run's id and cell."""
        self.write("spec.json", {"id": spec.id, "cell": spec.cell, **spec.to_dict()})

    def write_failure(self, spec: Spec, failure: Mapping[str, Any]) -> None:
        """Write failure.json. Also write spec.json unless the run is done, so that exports list it.

        The run may have failed before it wrote spec.json itself.
        """
        if not self.done:
            self.write_spec(spec)
        self.write("failure.json", failure)

    def create(self) -> None:
        """Create the folder. Raise UserError without permission or disk space."""
        with explain_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a JSON file atomically."""
        write_atomically(self.path / name, json.dumps(values, indent=1, allow_nan=False) + "\n")

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a JSON Lines file atomically."""
        write_atomically(self.path / name, "".join(json.dumps(row) + "\n" for row in rows))

    def remove(self, name: str) -> None:
        """Delete a file of the folder, if it exists."""
        (self.path / name).unlink(missing_ok=True)

    def clear_leftovers(self) -> None:
        """Delete failure.json, traceback.txt and unfinished temporary files of earlier attempts."""
        for path in [*self.path.glob("*.tmp"), self.path / "traceback.txt"]:
            path.unlink(missing_ok=True)
        self.remove("failure.json")

    def take_over(self, other: RunFolder) -> None:
        """Replace the files of this record by those of another one, and delete its folder.

        The weights and then the result come last, because they make the run complete.
        """
        last = ("model.safetensors", "result.json")
        for path in sorted(other.path.iterdir(), key=lambda p: (p.name in last, p.name)):
            path.replace(self.path / path.name)
        other.path.rmdir()

    @contextmanager
    def hold_lock(self) -> Iterator[bool]:
        """Hold the lock of the run; yield False if another process holds it.

        The operating system releases the lock when the process ends, even by SIGKILL.
        """
        self.create()
        with hold_lock(self.path / "lock", seconds=0) as ours:
            yield ours


def check_owner(folder: Path, file: str, owner: object) -> None:
    """Raise UserError if a file in a run's folder belongs to another run.

    owner: run id in the file. In a copied folder, this id differs from the name of the folder.
    Without this check, reports would count the copy and the original as runs of different seeds.
    """
    if owner != folder.name:
        raise UserError(f"{folder}: {file} belongs to run {owner}; delete the folder")
