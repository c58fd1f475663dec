"""Small disk that can be filled: a tmpfs, which needs root."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

MEBIBYTES = 96


class Disk:
    """Folder on a small file system. `reason` says why it cannot be filled, or is ''."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.reason = "mounting a tmpfs needs root" if os.geteuid() else ""
        if not self.reason:
            mount = ["mount", "-t", "tmpfs", "-o", f"size={MEBIBYTES}m", "soak", str(path)]
            done = subprocess.run(mount, capture_output=True, text=True, check=False)
            if done.returncode:
                self.reason = f"a tmpfs cannot be mounted: {done.stderr.strip()}"
        self._filler = path / "filler"
        self._full_until = 0.0

    def fill(self, seconds: float) -> None:
        """Fill the file system. `free_if_due` frees it after `seconds`."""
        space = os.statvfs(self.path)
        with self._filler.open("ab") as file:
            try:
                start = os.fstat(file.fileno()).st_size
                os.posix_fallocate(file.fileno(), start, space.f_bavail * space.f_frsize)
            except OSError:
                pass  # a run has taken some of the space
        self._full_until = time.monotonic() + seconds

    @property
    def full(self) -> bool:
        """Whether the disk is full at present."""
        return self._full_until > 0

    def free_if_due(self, now: bool = False) -> None:
        """Free the file system if the `seconds` of `fill` are over, or at once if `now` is set."""
        if self.full and (now or time.monotonic() >= self._full_until):
            self._filler.unlink(missing_ok=True)
            self._full_until = 0.0

    def close(self) -> None:
        """Unmount the file system."""
        if not self.reason:
            subprocess.run(["umount", "-l", str(self.path)], check=False)
