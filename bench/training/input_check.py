"""Whether the files that a run reads are still those that its id was made of."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from bench.files import hash_file
from bench.spec import Spec


def check_unchanged(spec: Spec) -> None:
    """Raise UserError if a file that a run reads is not the one that its id was made of.

    The data are left out: to read all of a large folder again would take longer than a run.
    """
    for what, content in spec.contents.items():
        if what == "data" or what not in spec.paths:
            continue
        path = Path(spec.paths[what])
        if hash_file(path) != content:
            raise UserError(
                f"{spec.label}: its {what} {path} has changed since the run was planned; give the "
                "command again"
            )
