"""Compact form of finished runs: one file ID.tar.xz per run, without weights.

The file contains the small files of the run's folder, byte for byte, with one exception. In
spec.json, `paths` is empty and `keep_model` is false, because the compact form has neither the
input files nor the weights. Neither field is part of a run's id. Folders with equal files give
equal bytes, so the compact form can be kept under version control.
"""

from __future__ import annotations

import io
import json
import lzma
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import UserError
from bench.files import explain_errors, make_folder, read_json, replace_atomically
from bench.results.run_folder import check_owner

SUFFIX = ".tar.xz"
RECORDING = "trace.safetensors"
LARGEST = 2**16  # bytes of a recording; larger ones hold weights
RESULT = "result.json"
FILES = (
    "spec.json",
    "environment.json",
    "epochs.jsonl",
    "decisions.jsonl",
    "evaluation.npz",  # absent if the run diverged
    RECORDING,
    "retime.json",  # only if the run was timed again
    RESULT,
)
LONGEST = 2**28  # bytes of a member that is still read


@dataclass
class CompactOutcome:
    """Ids of the runs that were written, and of those left out because of a large recording."""

    written: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def write_compact_runs(results: Path, out: Path) -> CompactOutcome:
    """Write the compact form of the finished runs of a results folder into a folder.

    Runs with a recording of more than LARGEST bytes are left out. Files with the same bytes are not
    written again. Raises UserError if spec.json of a run is damaged.
    """
    outcome = CompactOutcome()
    make_folder(out)
    for result in sorted(results.glob(f"runs/*/{RESULT}")):
        folder = result.parent
        recording = folder / RECORDING
        if recording.exists() and recording.stat().st_size > LARGEST:
            outcome.left_out.append(folder.name)
            continue
        packed, path = pack_run(folder), out / f"{folder.name}{SUFFIX}"
        if not path.exists() or path.read_bytes() != packed:
            with replace_atomically(path) as temporary:
                temporary.write_bytes(packed)
        outcome.written.append(folder.name)
    return outcome


def pack_run(folder: Path) -> bytes:
    """Return the compact form of a finished run. Raise UserError if spec.json is damaged."""
    buffer = io.BytesIO()
    with (
        lzma.open(buffer, "wb", preset=9 | lzma.PRESET_EXTREME) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in FILES:
            path = folder / name
            if name == "spec.json":
                spec = {**read_json(path), "paths": {}, "keep_model": False}
                check_owner(folder, name, spec.get("id"))
                content = (json.dumps(spec, indent=1, allow_nan=False) + "\n").encode()
            elif path.exists():
                with explain_errors(path):
                    content = path.read_bytes()
            else:
                continue
            member = tarfile.TarInfo(name)  # time, owner and mode are constant
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def unpack_runs(source: Path, target: Path) -> None:
    """Unpack the compact runs of a folder into a results folder.

    Raises UserError that names a compact file if it is damaged, or if it contains anything but
    regular files with the names in FILES.
    """
    for path in sorted(source.glob(f"*{SUFFIX}")):
        folder = target / "runs" / path.name.removesuffix(SUFFIX)
        folder.mkdir(parents=True)
        try:
            with explain_errors(path), tarfile.open(path, "r:xz") as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isreg() else None
                    if member.name not in FILES or file is None or member.size > LONGEST:
                        raise UserError(
                            f"{path} contains {member.name}, which no compact run has; export it "
                            "again with `freezebench export --format compact`"
                        )
                    (folder / member.name).write_bytes(file.read())
        except (tarfile.TarError, lzma.LZMAError, EOFError, OSError) as error:
            raise UserError(f"{path} cannot be read ({error}); export it again") from None
        if not (folder / RESULT).exists():
            raise UserError(f"{path} contains no {RESULT}; export it again")
