"""Mirror of finished runs in Weights & Biases; the files on disk remain authoritative.

The mirror is off unless WANDB_MODE is set to `offline` or `online`. A run is uploaded once, after
it is done, because wandb cannot resume an offline run. The clocks of the run do not include the
upload. The upload uses a subprocess with a timeout (`python -m bench.results.wandb_mirror FOLDER`),
because the wandb client can block forever without a connection.

The file `wandb/mirrored` in the folder of a run says that the run was uploaded.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.files import PROJECT, read_json_lines, write_atomically
from bench.options import make_unknown_error
from bench.results.run_folder import RunFolder
from bench.spec import Spec

SECONDS = 300.0  # timeout for uploading one run
MODES = ("offline", "online")
MARK = Path("wandb", "mirrored")
SUMMARY = ("status", "reason", "metric", "accuracy", "steps", "flops", "energy", "memory", "clocks")


@dataclass
class MirrorOutcome:
    """Numbers of finished runs: uploaded now, uploaded before, and failed to upload."""

    sent: int = 0
    before: int = 0
    failed: int = 0


def is_mirror_enabled() -> bool:
    """Return whether finished runs are mirrored. Raise UserError for an invalid WANDB_MODE."""
    mode = os.environ.get("WANDB_MODE", "") or "disabled"
    if mode not in (*MODES, "disabled"):
        raise make_unknown_error("WANDB_MODE", mode, [*MODES, "disabled"])
    return mode in MODES


def mirror_finished_runs(results: Path) -> MirrorOutcome:
    """Upload the finished runs of a results folder that were not uploaded before.

    Raises UserError if WANDB_MODE turns the mirror off, or if a file of a run is damaged.
    """
    if not is_mirror_enabled():
        raise UserError("set WANDB_MODE=online, or WANDB_MODE=offline for `wandb sync` later")
    outcome = MirrorOutcome()
    for result in sorted(results.glob("runs/*/result.json")):
        folder = RunFolder(results, result.parent.name)
        if (folder.path / MARK).exists():
            outcome.before += 1
        elif mirror_run(folder.read_spec(), folder):
            outcome.sent += 1
        else:
            outcome.failed += 1
    return outcome


def mirror_run(spec: Spec, folder: RunFolder) -> bool:
    """Upload the epochs and the result of a done run, if the mirror is on.

    Return whether the run is uploaded. A failure is printed, not raised.
    """
    if not is_mirror_enabled():
        return False
    command = [sys.executable, "-m", "bench.results.wandb_mirror", str(folder.path.resolve())]
    try:
        done = subprocess.run(
            command, cwd=PROJECT, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        lines = done.stderr.strip().splitlines()
        trouble = (lines[-1] if lines else f"status {done.returncode}") if done.returncode else ""
    except subprocess.TimeoutExpired:
        trouble = f"no answer within {SECONDS:.0f} s"
    except OSError as error:
        trouble = str(error)
    if trouble:
        print(
            f"wandb: {spec.label} was not mirrored: {trouble}; to try again later, type "
            f"`WANDB_MODE={os.environ['WANDB_MODE']} freezebench export --format wandb`",
            file=sys.stderr,
        )
    return not trouble


def send_run(path: Path) -> None:
    """Upload the run in a folder. Raise any error of the wandb client.

    An offline upload replaces earlier ones, which describe an earlier execution of the run. Raises
    UserError if the offline file is incomplete, because the wandb client ignores a full disk.
    """
    import wandb

    folder = RunFolder(path.parent.parent, path.name)
    spec, result = folder.read_spec(), folder.result()
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
    for row in read_json_lines(path / "epochs.jsonl"):
        run.log({k: v for k, v in row.items() if v is not None}, step=row["step"])
    run.summary.update({name: result[name] for name in SUMMARY})
    run.finish()
    wandb.teardown()  # wait until the process that writes the file has ended
    if not online:
        for file in Path(run.dir).parent.glob("*.wandb"):
            check_offline_file(file)
        for old in earlier:
            shutil.rmtree(old)
    write_atomically(path / MARK, os.environ["WANDB_MODE"] + "\n")


def check_offline_file(file: Path) -> None:
    """Raise UserError if the file lacks the end of the summary."""
    content = file.read_bytes()
    # The file consists of blocks, and one name may be split between two of them.
    if not any(name.encode() in content for name in SUMMARY[-2:]):
        raise UserError(f"{file} is incomplete; free some disk space")


if __name__ == "__main__":
    try:
        send_run(Path(sys.argv[1]))
    except UserError as problem:
        sys.exit(str(problem))
