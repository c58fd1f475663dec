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
progress.json     while a process is at it: how far it is (bench/heartbeat.py)

Where a run stands, read from all that, is said by bench/standing.py.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.spec import Spec


class RunFolder:
    """The folder of one run below a results folder."""

    def __init__(self, results: Path, run_id: str) -> None:
        self.path = results / "runs" / run_id

    @property
    def done(self) -> bool:
        """Whether the run has a result (a diverged run has one too)."""
        with explained(self.path):
            return (self.path / "result.json").exists()

    @property
    def checkpoint(self) -> Path:
        """Where the run goes on from, while it is not done."""
        return self.path / "checkpoint.pt"

    @property
    def model(self) -> Path:
        """The trained weights, if they are kept."""
        return self.path / "model.safetensors"

    def complete(self, spec: Spec) -> bool:
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
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def write(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a JSON file in one step: it is there whole or not at all."""
        write_whole(self.path / name, json.dumps(values, indent=1, allow_nan=False) + "\n")

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write a file of JSON lines in one step."""
        write_whole(self.path / name, "".join(json.dumps(row) + "\n" for row in rows))

    def remove(self, name: str) -> None:
        """Delete a file of the folder, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def clear_leftovers(self) -> None:
        """Delete what an earlier try left: its failure, and files it did not finish writing."""
        for path in [*self.path.glob("*.tmp"), self.path / "traceback.txt"]:
            path.unlink(missing_ok=True)
        self.remove("failure.json")

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the run while inside; yields False if another process holds it.

        The lock goes when the process does, however it ends.
        """
        self.create()
        with explained(self.path):
            handle = (self.path / "lock").open("a")
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ours = True
            except OSError as error:
                if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise UserError(
                        f"the file system of {self.path} has no locks, so two processes could "
                        "make one run; mount it with locks (Lustre: -o flock), or use --results"
                    ) from error
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                ours = False
            yield ours


def read_json(path: Path, mend: str = "delete its folder to run it again") -> dict[str, Any]:
    """Read a JSON object; raises UserError naming the file, and what to do about it, if it is
    missing or damaged.
    """
    try:
        with explained(path):
            values = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); {mend}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds {type(values).__name__}, not a JSON object; {mend}")
    return values


def write_whole(path: Path, text: str) -> None:
    """Write a text file through a temporary one, so that a reader never sees half of it."""
    with replacing(path) as temporary:
        temporary.write_text(text)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; when the block ends well, it takes the place of `path`."""
    # Two machines may use one process number at the same time.
    temporary = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.tmp")
    try:
        with explained(path):
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn a full disk and a lack of permission into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"disk full while writing {path}; free some space and give the command again: "
                "finished runs are kept"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(
                f"no permission for {path}; use a folder of your own: --results DIR, or --out DIR "
                "for reports"
            ) from error
        raise
