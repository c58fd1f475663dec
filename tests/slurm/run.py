"""Command of `make slurm-test`: runs the tests of this folder on a local Slurm cluster.

If Slurm cannot be started here, the command prints a prominent notice and exits with status 0.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.slurm_cluster import PACKAGES, PROGRAMS, Cluster

HERE = Path(__file__).resolve().parent
MEMORY = Path("/dev/shm")  # some disks take a minute for ten thousand run folders
LEAST_BYTES = 4 << 30


def main() -> int:
    """Run the tests, or print why they are skipped; return the exit status."""
    reason = prepare_slurm()
    if reason:
        line = f"SLURM TESTS SKIPPED: {reason}. Nothing about Slurm was tested."
        print("#" * len(line), line, "#" * len(line), sep="\n")
        return 0
    base = Path(tempfile.mkdtemp(prefix="freezebench-slurm-"))
    environment = {**os.environ, "FREEZEBENCH_SLURM": str(base), "OMP_NUM_THREADS": "1"}
    environment["PATH"] += ":/usr/sbin:/sbin"
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > LEAST_BYTES:
        environment["TMPDIR"] = str(MEMORY)
    command = [sys.executable, "-m", "pytest", str(HERE), "--durations=0", *sys.argv[1:]]
    try:
        return subprocess.run(
            command, env=environment, cwd=HERE.parent.parent, check=False
        ).returncode
    finally:
        Cluster(base).down()  # again, in case the tests were killed


def prepare_slurm() -> str:
    """Install Slurm if needed; return why no cluster can be started here, or ''."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if sys.platform != "linux":
        return "Slurm needs Linux"
    if os.geteuid() != 0:
        return "starting several nodes on one machine needs root"
    if all(shutil.which(program) for program in PROGRAMS):
        return ""
    if shutil.which("apt-get") is None:
        return f"Slurm is not installed, and there is no apt-get to install {' '.join(PACKAGES)}"
    # With RUNLEVEL=1, Debian starts no services. The tests start the daemons they need.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    for command in (install, ["apt-get", "update", "-qq"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if command is install and done.returncode == 0:
            break
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    last = (done.stderr.strip().splitlines() or ["no error message"])[-1]
    return f"apt-get could not install {' '.join(PACKAGES)}: {last}" if absent else ""


if __name__ == "__main__":
    sys.exit(main())
