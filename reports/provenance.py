"""How a report was made: the command, the commit, and the runs behind its numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from reports.caption import Profile

LIBRARIES = ("numpy", "scipy", "pandas", "matplotlib")


def provenance(
    frame: pd.DataFrame, profile: Profile, files: Sequence[Path], roles: Sequence[str]
) -> str:
    """The record that lies beside a report, as JSON."""
    keys = ("id", "cell", *roles, "seed", "state", "reason", "device", "commit")
    values: dict[str, Any] = {
        "command": command(),
        "commit": commit(),
        "profile": asdict(profile),
        "libraries": {name: version(name) for name in LIBRARIES},
        "files": [file.name for file in files],
        "runs": [{key: run[key] for key in keys} for run in frame.to_dict("records")],
    }
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def command() -> str:
    """The command line that runs now, without the folder its program lies in."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def commit() -> str:
    """The commit of this source tree, "+" behind it if files differ; "" outside a repository."""
    here = Path(__file__).parent
    try:
        head = _git("rev-parse", "HEAD", folder=here)
        return head + "+" * bool(_git("status", "--porcelain", "-uno", folder=here))
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str, folder: Path) -> str:
    run = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return run.stdout.strip()
