"""Files and folders: atomic writes, JSON, content hashes and clear errors."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.errors import UserError

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

# Folder that holds the packages bench, strategies, reports and sweeps.
PROJECT = Path(__file__).resolve().parent.parent


def make_results_folder(results: Path) -> None:
    """Make the folder of all results; raises UserError where there can be none."""
    try:
        with explain_errors(results):
            results.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"{results}: a file is where a folder must be; move it or use --results DIR"
        ) from None


def hash_file(path: Path) -> str:
    """The first 16 hex digits of a file's sha256; raises UserError if it cannot be read.

    A file is read once, and again when its size, its time or its number has changed.
    """
    try:
        facts = path.stat()
        return _hash(path, facts.st_ino, facts.st_mtime_ns, facts.st_size)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; check the path") from None


@lru_cache(maxsize=1024)
def _hash(path: Path, number: int, changed: int, size: int) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]


def read_json(path: Path, mend: str = "delete its folder to run it again") -> dict[str, Any]:
    """Read a JSON object; raises UserError naming the file, and what to do about it, if it is
    missing or damaged.
    """
    try:
        with explain_errors(path):
            values = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); {mend}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} holds {type(values).__name__}, not a JSON object; {mend}")
    return values


def write_atomically(path: Path, text: str) -> None:
    """Write a text file through a temporary one, so that a reader never sees half of it."""
    with replace_atomically(path) as temporary:
        temporary.write_text(text)


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to; when the block ends well, it takes the place of `path`."""
    # Two machines may use one process number at the same time.
    temporary = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.tmp")
    try:
        with explain_errors(path):
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def explain_errors(path: Path) -> Iterator[None]:
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


def make_folder(out: Path) -> None:
    """Make a report's folder; raises UserError where that cannot be."""
    try:
        with explain_errors(out):
            out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(path for path in (out, *out.parents) if path.exists() and not path.is_dir())
        raise UserError(f"{file} is a file where a folder must be; move it") from None


@contextmanager
def hold_lock(path: Path, seconds: float = -1) -> Iterator[bool]:
    """Hold an exclusive lock on a file; yield False if another process holds it all the time.

    seconds: how long to wait; 0 = one try, -1 = for ever. The lock ends with the process, however
    that ends. Raises UserError if the file system has no locks.
    """
    lock = FileLock(path, timeout=seconds, poll_interval=0.2, fallback_to_soft=False)
    with explain_errors(path):
        try:
            lock.acquire()
        except Timeout:
            pass
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            raise UserError(
                f"the file system of {path.parent} has no locks, so two processes could write the "
                "same files; mount it with locks (Lustre: -o flock), or use --results"
            ) from error
    try:
        yield lock.is_locked
    finally:
        lock.release()
