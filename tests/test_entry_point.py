"""The command in a locale whose encoding is not UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

# Reads a file in the encoding of the locale, as libraries do, and prints to stdout.
PROGRAM = """
import sys
from pathlib import Path
import freezebench
freezebench.use_utf8()
print(Path("sign").read_text())
"""


def test_a_locale_without_utf_8_changes_no_file_and_escapes_on_the_terminal(
    tmp_path: Path,
) -> None:
    """Use the C locale for any locale without UTF-8, because it exists on every system."""
    hidden = ("LANG", "LC_ALL", "LC_CTYPE", "PYTHONIOENCODING")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {
        "PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0",
    }  # fmt: skip
    (tmp_path / "sign").write_text("3 × 4", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path, env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == rb"3 \xd7 4"
    done = subprocess.run(
        [sys.executable, "-m", "freezebench", "list", "×"],
        cwd=tmp_path, env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert rb"\xd7" in done.stderr
    assert b"Traceback" not in done.stderr
