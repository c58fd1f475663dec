"""Command of `make page-test`: runs the tests of the page in headless Chromium.

Without Chromium, the command prints a prominent warning, tests nothing and succeeds.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE, PROGRAMS = "chromium", ("chromium", "chromium-browser", "google-chrome")


def main() -> int:
    """Run the tests, or print why they are skipped."""
    browser, reason = find_browser()
    if reason:
        line = f"PAGE TESTS SKIPPED: {reason}. The page was not tested in a browser."
        print("#" * len(line), line, "#" * len(line), sep="\n")
        return 0
    environment = {**os.environ, "FREEZEBENCH_BROWSER": browser, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", str(HERE), *sys.argv[1:]]
    return subprocess.run(command, env=environment, cwd=HERE.parent.parent, check=False).returncode


def find_browser() -> tuple[str, str]:
    """Return the browser's path and '', or '' and the reason why there is none.

    If playwright is installed but no browser is, install Debian's package of Chromium.
    """
    if importlib.util.find_spec("playwright") is None:
        return "", "playwright is not installed; run `pip install playwright`"
    reason = ""
    if not _find_program():
        reason = _install()
    browser = _find_program()
    return browser, "" if browser else reason or f"no {PACKAGE} was found"


def _find_program() -> str:
    return next((path for name in PROGRAMS if (path := shutil.which(name))), "")


def _install() -> str:
    """Install Debian's package of Chromium; return '' or the reason why that failed."""
    if shutil.which("apt-get") is None:
        return f"{PACKAGE} is not installed, and there is no apt-get to install it"
    if os.geteuid() != 0:
        return f"{PACKAGE} is not installed, and installing it needs root"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", PACKAGE]
    for command in (install, ["apt-get", "update", "-qq"], install):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if command is install and done.returncode == 0:
            return ""
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"apt-get could not install {PACKAGE}: {last}"


if __name__ == "__main__":
    sys.exit(main())
