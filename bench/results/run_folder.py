"""A run's folder: what is written there, in which order, and what counts as done.

spec.json         the run, with its id and cell
environment.json  versions, device, commit, threads
epochs.jsonl      a line an epoch
decisions.jsonl   a line a layer and freezing stage
checkpoint.pt     while it is not done
model.safetensors the trained weights, if another run needs them
trace.safetensors a strategy's recordings, if it has any
result.json       written last, in one step; it alone makes the run done
failure.json      why the last try failed
progress.json     while a process is at it: how far it is (bench/results/heartbeat.py)

Where a run stands, read from all that, is said by bench/results/run_status.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.files import explain_errors, hold_lock, read_json, write_atomically
from bench.spec import Spec


class RunFolder:
    """The folder of one run below a results folder."""

    def __init__(self, results: Path, run_id: str) -> None:
        self.path = results / "runs" / run_id

    @property
    def done(self) -> bool:
        """Whether the run has a result (a diverged run has one too)."""
        with explain_errors(self.path):
            return (self.path / "result.json").exists()

    @property
    def checkpoint(self) -> Path:
        """Where the run goes on from, while it is not done."""
        return self.path / "checkpoint.pt"

    @property
    def model(self) -> Path:
        """The trained weights, if they are kept."""
        return self.path / "model.safetensors"

    def is_complete(self, spec: Spec) -> bool:
        """Whether nothing is left to do for a spec: a result, and the weights if they are kept."""
        return self.done and (not spec.keep_model or self.model.exists() or self.diverged)

    @property
    def diverged(self) -> bool:
        """Whether the run's loss left the finite numbers."""
        return self.done and self.result()["status"] == "diverged"

    def result(self) -> dict[str, Any]:
        """The result; raises UserError if there is none or it cannot be read."""
        return read_json(self.path / "result.json")

    def create(self) -> None:
        """Make the folder; raises UserError where that is not allowed."""
        with explain_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a JSON file in one step: it is there whole or not at all."""
        write_atomically(self.path / name, json.dumps(values, indent=1, allow_nan=False) + "\n")

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a file of JSON lines in one step."""
        write_atomically(self.path / name, "".join(json.dumps(row) + "\n" for row in rows))

    def remove(self, name: str) -> None:
        """Delete a file of the folder, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def clear_leftovers(self) -> None:
        """Delete what an earlier try left: its failure, and files it did not finish writing."""
        for path in [*self.path.glob("*.tmp"), self.path / "traceback.txt"]:
            path.unlink(missing_ok=True)
        self.remove("failure.json")

    @contextmanager
    def hold_lock(self) -> Iterator[bool]:
        """Hold the run while inside; yields False if another process holds it.

        The lock goes when the process does, however it ends.
        """
        self.create()
        with hold_lock(self.path / "lock", seconds=0) as ours:
            yield ours
