"""`make page-test`: opens the page in Chromium, headless, and looks at what a reader would see.

Where there is no Chromium it says so, loudly, and succeeds: nothing was tested then.
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
    """Run the tests, or say why not."""
    browser, reason = find_browser()
    if reason:
        line = f"PAGE TESTS SKIPPED: {reason}. Nothing about the page in a browser was tested."
        print("#" * len(line), line, "#" * len(line), sep="\n")
        return 0
    environment = {**os.environ, "FREEZEBENCH_BROWSER": browser, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", str(HERE), *sys.argv[1:]]
    return subprocess.run(command, env=environment, cwd=HERE.parent.parent, check=False).returncode


def find_browser() -> tuple[str, str]:
    """The browser's path, or why there is none; installs Debian's package if that is all."""
    if importlib.util.find_spec("playwright") is None:
        return "", "playwright is not installed; pip install playwright"
    reason = ""
    if not _find_program():
        reason = _install()
    browser = _find_program()
    return browser, "" if browser else reason or f"no {PACKAGE} was found"


def _find_program() -> str:
    return next((path for name in PROGRAMS if (path := shutil.which(name))), "")


def _install() -> str:
    """Why Debian's package could not be installed; '' if it could."""
    if shutil.which("apt-get") is None:
        return f"there is no {PACKAGE} and no apt-get to install it"
    if os.geteuid() != 0:
        return f"there is no {PACKAGE}; installing it needs root"
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
