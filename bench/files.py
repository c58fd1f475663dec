"""Files and folders: atomic writes, JSON, content hashes and clear errors."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.errors import UserError

RUN_AGAIN = "delete its folder to run it again"  # advice for a damaged file of a run
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)

# Folder that holds the packages bench, strategies, reports and sweeps.
PROJECT = Path(__file__).resolve().parent.parent


def expand_home(path: str | Path) -> Path:
    """Return the path with ~ replaced by the home directory.

    Raises UserError if the user has no home directory, for example without an entry in /etc/passwd.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError(
            f"{path}: the home directory is unknown; set HOME, or give the whole path"
        ) from None


@contextmanager
def get_utf8_path(path: str | Path) -> Iterator[str]:
    """Yield a path in UTF-8 to the same file, for safetensors and pyarrow, which need UTF-8.

    For a path that is not UTF-8, the result is the path of an open file descriptor. Raises OSError
    if the file cannot be opened.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with Path(path).open("rb") as file:
            yield f"/dev/fd/{file.fileno()}"
    else:
        yield str(path)


def make_results_folder(results: Path) -> None:
    """Create the results folder. Raise UserError if that is not possible."""
    try:
        with explain_errors(results):
            results.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"{results} is a file, but must be a folder; move the file or pass --results DIR"
        ) from None
    except OSError as error:
        raise UserError(
            f"{results} cannot be created ({error.strerror}); pass --results DIR"
        ) from None


def hash_file(path: Path) -> str:
    """Return the first 16 hex digits of a file's sha256.

    The hash is cached until the file's size, modification time or inode number changes.
    Raises UserError if the file cannot be read.
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


def read_json(path: Path, advice: str = RUN_AGAIN) -> dict[str, Any]:
    """Read a JSON object from a file.

    advice: end of the error message. Raises UserError if the file is missing or damaged.
    """
    try:
        with explain_errors(path):
            values = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {advice}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); {advice}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path} contains {type(values).__name__}, not a JSON object; {advice}")
    return values


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read the JSON objects of a JSON Lines file in the folder of a run.

    Raises UserError if the file is missing or damaged.
    """
    try:
        with explain_errors(path):
            rows = [json.loads(line) for line in path.read_text().splitlines()]
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {RUN_AGAIN}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); {RUN_AGAIN}") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            kind = type(row).__name__
            raise UserError(f"{path}, line {number}: {kind}, not a JSON object; {RUN_AGAIN}")
    return rows


def read_toml(path: Path, name: str) -> dict[str, Any]:
    """Read a TOML file in UTF-8, with or without a byte order mark.

    name: kind and name of the file, for messages. Raises UserError if the file cannot be read or is
    not valid TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}; check the path") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not in UTF-8 ({error}); save it in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{name} is not valid TOML: {error}") from None


def write_atomically(path: Path, text: str) -> None:
    """Write a text file through a temporary file, so that readers never see a partial file.

    Characters of the text that UTF-8 cannot encode are written as escapes. They come from file
    names that are not UTF-8.
    """
    with replace_atomically(path) as temporary:
        temporary.write_text(text, errors="backslashreplace")


@contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to `path` if the block raises no error."""
    # The name contains the machine, because processes on two machines may have the same id.
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
    """Convert disk-full and permission errors into a UserError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"disk full while writing {path}; free some space and run the command again "
                "(finished runs are kept)"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UserError(
                f"permission denied for {path}; use a writable folder (--results DIR, or --out DIR "
                "for reports)"
            ) from error
        raise


def make_folder(out: Path) -> None:
    """Create a report's folder. Raise UserError if that is not possible."""
    try:
        with explain_errors(out):
            out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        file = next(path for path in (out, *out.parents) if path.exists() and not path.is_dir())
        raise UserError(f"{file} is a file, but must be a folder; move the file") from None
    except OSError as error:
        raise UserError(
            f"{out} cannot be created ({error.strerror}); give another folder"
        ) from None


@contextmanager
def hold_lock(path: Path, seconds: float = -1) -> Iterator[bool]:
    """Hold an exclusive lock on a file; yield whether it was acquired.

    seconds: how long to wait; 0 = one attempt, -1 = no limit. The operating system releases the
    lock when the process ends, even by SIGKILL. Raises UserError if the file system has no locks.
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
                "same files; mount it with locks (Lustre: -o flock), or pass --results DIR"
            ) from error
    try:
        yield lock.is_locked
    finally:
        lock.release()
