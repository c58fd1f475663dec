"""The command in locales whose encoding is not UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT


@pytest.mark.parametrize("encoding", ["", "ascii"])
def test_a_locale_without_utf_8_changes_no_file_and_escapes_on_the_terminal(
    encoding: str, tmp_path: Path
) -> None:
    """The C locale stands for any such locale, since it exists everywhere."""
    hidden = ("LANG", "LC_ALL", "LC_CTYPE", "PYTHONIOENCODING", "PYTHONUTF8")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    environment |= {"PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
    environment |= {"PYTHONUTF8": "0"} if encoding else {}
    (tmp_path / "mine.toml").write_text('title = ["3 × 4"]\n', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "freezebench", "plan", "mine.toml"],
        cwd=tmp_path, env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    sign = rb"3 \xd7 4" if encoding else "3 × 4".encode()
    assert b"title is ['" + sign + b"']" in done.stderr
