"""The command line as a user meets it: good input, and one clear line for bad input."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from bench.cli.main import main

TINY = [
    "run", "--model", "laptop_vgg11", "--data", "digits10", "--resolution", "24",
    "--epochs", "1", "--train-limit", "96", "--lr", "0.01",
]  # fmt: skip


def error_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must fail, and return its only line that begins with "error: "."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if not line.startswith("failed:")]
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "resnet51"], ["resnet51", "did you mean"]),
        (["--data", "digits11"], ["digits11", "did you mean 'digits10'"]),
        (["--strategy", "autofreze"], ["autofreze", "did you mean 'autofreeze'"]),
        (["--strategy", "linear", "-o", "T0=0.5"], ["T0", "t0"]),
        (["--strategy", "linear", "-o", "t0=1.5"], ["t0", "1.5", "from 0 to 1"]),
        (["--strategy", "linear", "-o", "t0"], ["KEY=VALUE"]),
        (["--epochs", "0"], ["epochs", "from 1"]),
        (["--lr", "fast"], ["lr", "fast"]),
        (["--data", "cifar10", "--data-root", "/nowhere"], ["/nowhere"]),
        (["--data", "cifar10"], ["cifar10"]),
        (["--weights", "/nowhere/w.safetensors"], ["/nowhere/w.safetensors"]),
        (["--weights", "run:abcdef012345"], ["abcdef012345"]),
        (["--weights", "pretrained"], ["laptop_vgg11", "no published weights"]),
        (["--strategy", "cka_oracle"], ["reference"]),
        (["--strategy", "nowhere.py:Mine"], ["nowhere.py"]),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = error_line([*TINY, *arguments, "--results", str(tmp_path)], capsys)
    assert all(word in line for word in words), line


def test_device_that_is_not_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)  # whatever this machine has
    line = error_line([*TINY, "--device", "cuda", "--results", str(tmp_path)], capsys)
    assert "cuda" in line
    assert "--device cpu" in line


def test_wrong_weights_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "w.safetensors"
    save_file({"features.0.weight": torch.zeros(3, 3)}, wrong)
    line = error_line([*TINY, "--weights", str(wrong), "--results", str(tmp_path)], capsys)
    assert "w.safetensors" in line
    wrong.write_bytes(b"no tensors here")
    line = error_line([*TINY, "--weights", str(wrong), "--results", str(tmp_path)], capsys)
    assert "not a readable safetensors file" in line


def test_half_written_and_damaged_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*TINY, "--results", str(tmp_path)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "accuracy" in printed
    folder = Path(printed.splitlines()[-1])
    whole = (folder / "result.json").read_text()

    (folder / "result.json").write_text(whole[:100])
    assert str(folder / "result.json") in error_line(command, capsys)

    (folder / "result.json").unlink()  # half-written: the result is missing
    assert main(command) == 0
    again = json.loads((folder / "result.json").read_text())
    assert again["accuracy"] == json.loads(whole)["accuracy"]


def test_no_permission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--results", str(tmp_path / "mine")]) == 0  # loads what is loaded late
    capsys.readouterr()
    (tmp_path / "theirs").mkdir(mode=0o500)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # root may write anywhere; nobody may not
    try:
        line = error_line([*TINY, "--results", str(tmp_path / "theirs" / "results")], capsys)
    finally:
        if root:
            os.seteuid(0)
    assert "permission denied" in line
    assert "--results" in line


def test_results_below_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    line = error_line([*TINY, "--results", str(tmp_path / "file")], capsys)
    assert str(tmp_path / "file") in line


def test_full_disk(tmp_path: Path) -> None:
    """Simulate a full disk: in the child process, writes beyond a file size limit fail."""
    script = (
        "import resource, signal, sys, errno; import bench.results.run_folder;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "from bench.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *TINY, "--results", str(tmp_path)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert "too large" in done.stderr or "disk full" in done.stderr
    assert not list(tmp_path.glob("runs/*/result.json"))
    assert not list(tmp_path.glob("runs/*/*.tmp"))


def test_strategy_in_a_file_outside_the_repository(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from strategies.base import AtSteps, Decision, Integer, Strategy\n"
        "class FirstLayers(Strategy):\n"
        "    'Freeze the first layers after one step.'\n"
        "    name = 'first_layers'\n"
        "    options = {'count': Integer(2, low=1)}\n"
        "    def stages(self):\n"
        "        return AtSteps(frozenset({1}))\n"
        "    def decide(self, view):\n"
        "        return [Decision(i, freeze=True) for i in view.active[: self.count]]\n"
    )
    command = [*TINY, "--results", str(tmp_path), "--strategy", f"{file}:FirstLayers"]
    assert main([*command, "-o", "count=3"]) == 0
    assert "layers frozen 3 of 11" in capsys.readouterr().out
    assert main([*command, "-o", "cnt=3"]) == 2
    assert "did you mean 'count'" in capsys.readouterr().err
    file.write_text("import nothing_like_this\n")
    assert main(command) == 2
    assert "cannot be imported" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["strategies", "models", "data", "sweeps", "profiles", "fields"])
def test_list(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", what]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 1


def test_help_is_fast_and_loads_no_torch() -> None:
    script = (
        "import sys; from bench.cli.main import build_parser; build_parser(); "
        "sys.exit('torch' in sys.modules)"
    )
    began = time.perf_counter()
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    assert time.perf_counter() - began < 5  # a bound on waste, not a benchmark


def test_a_reader_that_closes_the_output_causes_no_message() -> None:
    """Close the output early, as in `freezebench list strategies | head -1`."""
    command = [sys.executable, "-m", "freezebench", "list", "strategies"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_a_broken_pipe_to_another_process_is_reported(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def write_to_a_worker(_: object) -> int:
        raise BrokenPipeError("a worker has ended")

    monkeypatch.setattr("bench.cli.list.main", write_to_a_worker)
    assert main(["list"]) == 1
    assert "BrokenPipeError: a worker has ended" in capfd.readouterr().err


def test_names_that_are_not_utf_8_can_be_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    for place in ("train/ant", "train/bee", "val/ant", "val/bee"):
        (odd / place).mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (24, 24), (i, 99, 200)).save(odd / place / f"{i}.png")
    printed = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", printed[0])
    monkeypatch.setattr(sys, "stderr", printed[1])
    command = [*TINY, "--data", f"folder:{odd}", "--results", str(odd / "results")]
    assert main(command) == 0
    assert main([*command, "--augment", "randaugment"]) == 2
    out, err = (cast(io.BytesIO, s.buffer).getvalue().decode() for s in printed if not s.flush())
    assert r"/caf\udce9/results/runs/" in out
    assert r"caf\udce9" in err.splitlines()[-1]
    (log,) = (odd / "results" / "runs").glob("*/traceback.txt")
    assert r"caf\udce9" in log.read_text()
