"""Mirror of finished runs in Weights & Biases; the files on disk remain authoritative.

The mirror is off unless WANDB_MODE is set to `offline` or `online`. A run is uploaded once, after
it is done, because wandb cannot resume an offline run. The clocks of the run do not include the
upload. The upload uses a subprocess with a timeout (`python -m bench.results.wandb_mirror FOLDER`),
because the wandb client can block forever without a connection.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bench.files import PROJECT, read_json_lines
from bench.options import make_unknown_error
from bench.results.run_folder import RunFolder
from bench.spec import Spec

SECONDS = 300.0  # timeout for uploading one run
MODES = ("offline", "online")


def is_mirror_enabled() -> bool:
    """Return whether finished runs are mirrored. Raise UserError for an invalid WANDB_MODE."""
    mode = os.environ.get("WANDB_MODE", "") or "disabled"
    if mode not in (*MODES, "disabled"):
        raise make_unknown_error("WANDB_MODE", mode, [*MODES, "disabled"])
    return mode in MODES


def mirror_run(spec: Spec, folder: RunFolder) -> None:
    """Upload the epochs and the result of a done run. Print a failure instead of raising it."""
    if not is_mirror_enabled():
        return
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
        print(f"wandb: {spec.label} was not mirrored: {trouble}", file=sys.stderr)


def send_run(path: Path) -> None:
    """Upload the run in a folder. Raise any error of the wandb client."""
    import wandb

    folder = RunFolder(path.parent.parent, path.name)
    spec, result = folder.read_spec(), folder.result()
    online = os.environ["WANDB_MODE"] == "online"
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
    run.summary.update({k: result[k] for k in ("status", "accuracy", "steps", "flops", "clocks")})
    run.finish()


if __name__ == "__main__":
    send_run(Path(sys.argv[1]))
