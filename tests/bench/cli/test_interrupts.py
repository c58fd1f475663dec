"""Ctrl-C while a command imports its modules: it ends the command and never gets lost."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Presses Ctrl-C when the module named first is imported. C++ code of torch imports numpy.linalg.
PRESS = """
import signal, sys

class PressCtrlC:
    def find_spec(self, name, path, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, PressCtrlC())
from bench.cli.main import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.parametrize("module", ["bench.cli.runs.plan", "numpy.linalg"])
def test_ctrl_c_during_an_import_ends_the_command(tmp_path: Path, module: str) -> None:
    command = ["run", "--model", "laptop_vgg11", "--data", "digits10", "--epochs", "1"]
    ended = subprocess.run(
        [sys.executable, "-c", PRESS, module, *command, "--results", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert "Traceback" not in ended.stderr
    assert "stopped" in ended.stderr, ended
    assert ended.returncode == 130
    assert not list(tmp_path.rglob("result.json"))
