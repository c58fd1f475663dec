"""Snapshot of the code for jobs, so that editing the checkout does not affect submitted jobs."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from bench.files import PROJECT, explain_errors
from bench.machine.environment import RECORDED_COMMIT
from bench.path_names import make_path_absolute
from bench.spec import Spec

PARTS = ("bench", "strategies", "reports", "sweeps", "pyproject.toml")  # what runs import
CARRIED = ("predictor", "strategy")  # small input files, copied because users edit them


@dataclass(frozen=True)
class CodeSnapshot:
    """Copy of the code.

    commit: id of the commit. If files differ from the commit, "+" and a hash of the files follow.
    path: the folder of the copy.
    """

    commit: str
    path: Path


def snapshot_code(results: Path, dirty: bool) -> CodeSnapshot:
    """Copy the code of the checkout's commit to the results folder, unless the copy exists.

    dirty: if files differ from the commit, copy the files as they are. Raises UserError if files
    differ and dirty is false.
    """
    head = _run_git("rev-parse", "HEAD")[:12] if (PROJECT / ".git").exists() else ""
    changed = _list_changed() if head else []
    if changed and not dirty:
        raise UserError(
            f"uncommitted changes in {changed[0]}"
            + (f" (changed files: {len(changed)})" if len(changed) > 1 else "")
            + "; commit them, or pass --dirty to submit the files as they are"
        )
    if head and not changed:
        return _store_copy(results, head, _read_commit(head))
    files = _read_folder()
    digest = hashlib.sha256()
    for name, content in files:
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return _store_copy(results, f"{head or 'installed'}+{digest.hexdigest()[:8]}", files)


def copy_inputs(spec: Spec, code: CodeSnapshot) -> Spec:
    """Return the spec with its predictor and strategy files replaced by copies.

    The copies are in slurm/files of the results folder. Relative paths of data and models become
    absolute, because jobs run in the folder of the code.

    The run's id stays the same, because it depends on file contents and not on paths.
    """
    paths = dict(spec.paths)
    for what in CARRIED:
        if what in spec.contents and what in paths:
            paths[what] = str(_copy_file(Path(paths[what]), spec.contents[what], code))
    return spec.with_changes(
        paths=paths, model=make_path_absolute(spec.model), data=make_path_absolute(spec.data)
    )


def _copy_file(path: Path, content: str, code: CodeSnapshot) -> Path:
    """Copy a file to a folder named after its content hash; return the path of the copy."""
    place = code.path.parent.parent / "files" / content / path.name
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f"{place.name}.{uuid.uuid4().hex}.tmp")
        with explain_errors(place):
            shutil.copyfile(path, temporary)
            temporary.replace(place)
    return place


def _store_copy(results: Path, commit: str, files: Iterable[tuple[str, bytes]]) -> CodeSnapshot:
    """Return the snapshot of these files, created atomically if it does not exist."""
    place = results.resolve() / "slurm" / "code" / commit
    if not place.exists():
        temporary = place.with_name(f"{commit}.{uuid.uuid4().hex}.tmp")
        with explain_errors(place):
            for name, content in [*files, (RECORDED_COMMIT, commit.encode())]:
                path = temporary / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                path.chmod(0o444)  # read-only, to protect the code of jobs
            try:
                temporary.rename(place)
            except OSError:
                if not place.exists():  # if it exists, another launcher has created it
                    raise
                shutil.rmtree(temporary)
    return CodeSnapshot(commit, place)


def _read_commit(commit: str) -> list[tuple[str, bytes]]:
    archive = subprocess.run(
        ["git", "-C", str(PROJECT), "archive", "--format=tar", commit, *PARTS],
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout
    files = []
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            handle = tar.extractfile(member) if member.isfile() else None
            if handle:
                files.append((member.name, handle.read()))
    return files


def _read_folder() -> list[tuple[str, bytes]]:
    """Read the current files: tracked and new files in a checkout, all in an installed package."""
    if (PROJECT / ".git").exists():
        listed = _run_git("ls-files", "-z", "-co", "--exclude-standard", "--", *PARTS)
        names = sorted(n for n in listed.split("\0") if n and (PROJECT / n).is_file())
    else:
        names = sorted(
            str((Path(folder) / name).relative_to(PROJECT))
            for part in PARTS
            for folder, _, files in os.walk(PROJECT / part)
            for name in files
            if "__pycache__" not in folder
        )
    return [(name, (PROJECT / name).read_bytes()) for name in names]


def _list_changed() -> list[str]:
    """Return the files of the code that differ from the commit, including new files."""
    lines = _run_git("status", "--porcelain", "--untracked-files=all", "--", *PARTS).splitlines()
    return [line[3:] for line in lines]


def _run_git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(PROJECT), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UserError(f"`git {arguments[0]}` failed in {PROJECT}: {error}") from None
    return done.stdout.rstrip("\n")
