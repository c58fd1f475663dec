"""Mirror of finished runs in Weights & Biases; the files on disk remain authoritative.

The mirror is off unless WANDB_MODE is set to `offline` or `online`. A run is uploaded once, after
it is done, because wandb cannot resume an offline run. The clocks of the run do not include the
upload. The upload uses a subprocess with a timeout (`python -m bench.results.wandb_mirror FOLDER`),
because the wandb client can block forever without a connection.

The file `wandb/mirrored` in the folder of a run says how the run was uploaded, and names the result
that was uploaded. A run that is executed again has another result, and is uploaded again.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import PROJECT, hash_file, read_json_lines, write_atomically
from bench.options import make_unknown_error
from bench.results.run_folder import RunFolder
from bench.results.wandb_file import is_whole
from bench.spec import Spec

SECONDS = 300.0  # timeout for uploading one run
MODES = ("offline", "online")
DAMAGED = 2  # exit status if a file of the run is damaged, so that another attempt would fail too
MARK = Path("wandb", "mirrored")
Record = tuple[Spec, dict[str, Any], list[dict[str, Any]]]  # spec, result, epochs
SUMMARY = ("status", "reason", "metric", "accuracy", "steps", "flops", "energy", "memory", "clocks")


@dataclass
class MirrorOutcome:
    """Numbers of finished runs: uploaded now, uploaded before, failed to upload, and in use.

    Another process executes or uploads a run that is in use.
    """

    sent: int = 0
    before: int = 0
    failed: int = 0
    busy: int = 0


def is_mirror_enabled() -> bool:
    """Return whether finished runs are mirrored. Raise UserError for an invalid WANDB_MODE."""
    mode = os.environ.get("WANDB_MODE", "") or "disabled"
    if mode not in (*MODES, "disabled"):
        raise make_unknown_error("WANDB_MODE", mode, [*MODES, "disabled"])
    return mode in MODES


def mirror_finished_runs(results: Path) -> MirrorOutcome:
    """Upload the finished runs of a results folder that were not uploaded before.

    A run with a damaged file is printed and counted as failed. Raises UserError if WANDB_MODE turns
    the mirror off.
    """
    if not is_mirror_enabled():
        raise UserError("set WANDB_MODE=online, or WANDB_MODE=offline for `wandb sync` later")
    outcome = MirrorOutcome()
    for result in sorted(results.glob("runs/*/result.json")):
        folder = RunFolder(results, result.parent.name)
        with folder.hold_lock() as ours:
            if not ours:
                outcome.busy += 1
            elif _is_mirrored(folder):
                outcome.before += 1
            elif _mirror_recorded_run(folder):
                outcome.sent += 1
            else:
                outcome.failed += 1
    return outcome


def mirror_run(spec: Spec, folder: RunFolder) -> bool:
    """Upload the epochs and the result of a done run, if the mirror is on.

    The caller holds the lock of the run. Return whether the run is uploaded. A failure is printed,
    not raised.
    """
    if not is_mirror_enabled():
        return False
    command = [sys.executable, "-m", "bench.results.wandb_mirror", str(folder.path.resolve())]
    advice = (
        f"to try again later, type `WANDB_MODE={os.environ['WANDB_MODE']} freezebench export "
        f"--format wandb --results {shlex.quote(str(folder.path.parent.parent))}`"
    )
    try:
        done = subprocess.run(
            command, cwd=PROJECT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        lines = done.stderr.strip().splitlines()
        trouble = (lines[-1] if lines else f"status {done.returncode}") if done.returncode else ""
        advice = "" if done.returncode == DAMAGED else advice
    except subprocess.TimeoutExpired:
        trouble = f"no answer within {SECONDS:.0f} s"
    except OSError as error:
        trouble = str(error)
    if trouble:
        _report_failure(spec.label, "; ".join(filter(None, (trouble, advice))))
    return not trouble


def _mirror_recorded_run(folder: RunFolder) -> bool:
    """Upload a run with the spec in its folder. Return whether it is uploaded."""
    try:
        return mirror_run(folder.read_spec(), folder)
    except UserError as error:
        _report_failure(folder.path.name, str(error))
        return False


def _report_failure(run: str, trouble: str) -> None:
    print(f"wandb: {run} was not mirrored: {trouble}", file=sys.stderr)


def _is_mirrored(folder: RunFolder) -> bool:
    """Return whether the result of a run was uploaded in the current mode.

    A run that was uploaded online needs no offline file.
    """
    try:
        mode, uploaded = (folder.path / MARK).read_text().split()
    except (OSError, ValueError):  # no mark, or one of an earlier release
        return False
    return mode in ("online", os.environ["WANDB_MODE"]) and uploaded == _hash_result(folder.path)


def _hash_result(path: Path) -> str:
    return hash_file(path / "result.json")


def read_run(path: Path) -> Record:
    """Read what is uploaded of the run in a folder. Raise UserError if a file is damaged."""
    folder = RunFolder(path.parent.parent, path.name)
    return folder.read_spec(), folder.result(), read_json_lines(path / "epochs.jsonl")


def send_run(path: Path, spec: Spec, result: dict[str, Any], epochs: list[dict[str, Any]]) -> None:
    """Upload the run in a folder. Raise any error of the wandb client.

    An offline upload replaces earlier ones, which describe an earlier execution of the run. Raises
    OSError if the offline file is incomplete, because the wandb client ignores a full disk.
    """
    import wandb

    online = os.environ["WANDB_MODE"] == "online"
    earlier = list(path.glob("wandb/offline-run-*"))
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "freezebench"),
        id=spec.id,
        name=spec.label,
        group=spec.cell,
        job_type=spec.strategy_name,
        config=spec.to_dict(),
        dir=str(path),
        mode="online" if online else "offline",
        resume="allow" if online else None,
        settings=wandb.Settings(silent=True),
    )
    for row in epochs:
        run.log({k: v for k, v in row.items() if v is not None}, step=row["step"])
    run.summary.update({name: result[name] for name in SUMMARY if name in result})
    run.finish()
    wandb.teardown()  # wait until the process that writes the file has ended
    if not online:
        if not is_whole(file := Path(run.dir).parent / f"run-{spec.id}.wandb"):
            raise OSError(f"{file} is incomplete; free some disk space")
        for old in earlier:
            shutil.rmtree(old)
    write_atomically(path / MARK, f"{os.environ['WANDB_MODE']} {_hash_result(path)}\n")


if __name__ == "__main__":
    chosen = Path(sys.argv[1])
    try:
        record = read_run(chosen)
    except UserError as problem:
        print(problem, file=sys.stderr)
        sys.exit(DAMAGED)
    try:
        send_run(chosen, *record)
    except (OSError, UserError) as problem:
        sys.exit(str(problem))
