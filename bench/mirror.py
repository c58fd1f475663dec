"""A finished run mirrored to Weights & Biases; the files on disk are the truth.

Off unless WANDB_MODE is set to `offline` or `online`. A run is mirrored in one go after it is
done, outside its clocks, since an offline run cannot be resumed.
"""

from __future__ import annotations

import json
import os
import sys

from bench.results import RunFolder
from bench.spec import Spec


def mirror(spec: Spec, folder: RunFolder) -> None:
    """Send epochs and result of a done run. A failure is reported and does not hurt the run."""
    mode = os.environ.get("WANDB_MODE", "disabled")
    if mode not in ("offline", "online"):
        return
    try:
        _send(spec, folder, mode)
    except Exception as error:
        # Whatever the service or its client does, the run on disk is complete.
        print(f"wandb: {spec.label} was not mirrored: {error}", file=sys.stderr)


def _send(spec: Spec, folder: RunFolder, mode: str) -> None:
    import wandb

    result = folder.result()
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", "freezebench"),
        id=spec.id,
        name=spec.label,
        group=spec.cell,
        job_type=spec.strategy_name,
        config=spec.to_dict(),
        dir=str(folder.path),
        mode="online" if mode == "online" else "offline",
        resume="allow" if mode == "online" else None,
        settings=wandb.Settings(silent=True),
    )
    for line in (folder.path / "epochs.jsonl").read_text().splitlines():
        row = json.loads(line)
        run.log({k: v for k, v in row.items() if v is not None}, step=row["step"])
    run.summary.update({k: result[k] for k in ("status", "accuracy", "steps", "flops", "clocks")})
    run.finish()
