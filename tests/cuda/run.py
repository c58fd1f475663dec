"""`make cuda`: test and measure the harness on a GPU within eight minutes.

    python -m tests.cuda.run OUT [--device cuda] [--bundle DIR] [--minutes 3,3,2]

Three parts run one after the other, each with a time limit: tests on the device, measurements of
the harness overhead at 224 pixels, and short runs on real images. A part that reaches its limit is
stopped. Its finished results are written, and the summary lists what is missing. OUT gets at most
six files. Those of an earlier call are deleted first.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.outcomes import read_outcomes
from tests.support.paths import ROOT

LAWS = (
    "tests/bench/training",
    "tests/bench/prefix",
    "tests/bench/layers",
    "tests/bench/costs",
    "tests/bench/test_seeds.py",
)
PAPER = "resnet50,vgg11,mobilenet_v2,deit_tiny_patch16_224"
FAST = "resnet50,deit_tiny_patch16_224"
# Options of `freezebench perf`, the most important first.
PERF: tuple[tuple[str, ...], ...] = (
    ("--only", "step,memory,realised", "--models", PAPER),
    ("--only", "step,realised", "--models", PAPER, "--precision", "bfloat16"),
    ("--only", "step,realised", "--models", PAPER, "--precision", "tf32"),
    ("--only", "step", "--models", "resnet50", "--channels-last"),
    ("--only", "decide", "--models", "resnet50"),
    ("--only", "compiled", "--models", FAST, "--threads", "8"),
)
STRATEGIES = (
    ("full",),
    ("smartfrz",),
    ("autofreeze",),
    ("at_once", "--option", "saving=0.3"),
)
RUN = (
    "--model", "mobilenet_v2", "--resolution", "64", "--normalisation", "half", "--epochs", "8",
    "--lr", "0.003", "--warmup", "0.1",
)  # fmt: skip
COMMAND = (sys.executable, "-m", "bench.cli.main")
FILES = ("laws.csv", "laws.txt", "perf.csv", "environment.json", "runs.csv", "summary.txt")
PATIENCE = 10.0  # seconds that an interrupted command has to write its results


@dataclass
class Check:
    """Settings of one `make cuda`, and the lines of its summary."""

    out: Path
    device: str
    bundle: Path
    place: Path
    environment: Mapping[str, str]
    lines: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        """Print a line and keep it for the summary."""
        self.lines.append(line)
        with suppress(OSError):  # the terminal may be gone
            print(line, flush=True)

    def run(self, command: Sequence[str], until: float, log: Path | None = None) -> int | None:
        """Run a command. Return its status, or None if it was stopped at `until`.

        until: deadline in seconds of time.monotonic(). At the deadline the command gets SIGINT, and
            has PATIENCE seconds to write its results. Then its process group gets SIGKILL. If an
            exception ends the wait, the group gets SIGKILL at once.
        log: file for stdout and stderr.
        """
        with (log or self.place / "log.txt").open("a") as file:
            process = subprocess.Popen(
                command, cwd=ROOT, env=dict(self.environment), stdout=file, stderr=file,
                start_new_session=True,
            )  # fmt: skip
            try:
                return process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE)
                return None
            finally:
                with suppress(ProcessLookupError):  # the group may have ended already
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def check_laws(check: Check, until: float) -> bool:
    """Run the tests of LAWS on the device. Write laws.csv, and laws.txt on a failure.

    Return whether at least one test passed and none failed.
    """
    outcomes, log = check.place / "outcomes.txt", check.place / "pytest.txt"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-p", "tests.support.outcomes", "--tb=short", "--show-capture=no", *LAWS]
    # Ask a child, because only children import the packages of the bundle.
    if check.run([sys.executable, "-c", "import xdist"], until) == 0:
        command += ["-n", str(min(14, os.cpu_count() or 1))]
    more = {"FREEZEBENCH_TEST_DEVICE": check.device, "FREEZEBENCH_OUTCOMES": str(outcomes)}
    check.environment = {**check.environment, **more}
    try:
        check.run(command, until, log)
    finally:  # also after Ctrl-C
        found = read_outcomes(outcomes)
        write_rows(check.out / "laws.csv", [{"test": t, "outcome": o} for t, o in found.items()])
    counts = Counter(found.values())
    check.say("laws: " + (", ".join(f"{n} {o}" for o, n in sorted(counts.items())) or "none ran"))
    failures = Path(f"{outcomes}.failures")
    if counts["failed"] or not counts["passed"]:
        shutil.copy(failures if failures.exists() else log, check.out / "laws.txt")
    return counts["passed"] > 0 and not counts["failed"]


def measure_costs(check: Check, until: float) -> bool:
    """Run `freezebench perf` at 224 pixels. Write perf.csv and environment.json.

    Return whether anything was measured.
    """
    rows: list[dict[str, Any]] = []
    for number, options in enumerate(PERF):
        name = " ".join(options)
        if time.monotonic() > until:
            check.say(f"perf: {name} skipped, no time left")
            continue
        folder = check.place / f"perf{number}"
        command = [*COMMAND, "perf", *options, "--cases", "prefix 50%", "--resolution", "224"]
        command += ["--seconds", "2", "--device", check.device, "--results", str(folder)]
        status = check.run(command, until)
        if (folder / "perf" / "perf.csv").exists():
            described = json.loads((folder / "perf" / "environment.json").read_text())
            how = {key: described[key] for key in ("precision", "channels_last")}
            with (folder / "perf" / "perf.csv").open() as file:
                rows += [{**how, **row} for row in csv.DictReader(file)]
            shutil.copy(folder / "perf" / "environment.json", check.out / "environment.json")
        if status != 0:
            why = "stopped at the time limit" if status is None else f"ended with status {status}"
            check.say(f"perf: {name} {why}")
        write_rows(check.out / "perf.csv", rows)  # after each command, so that Ctrl-C loses none
    missed = [row for row in rows if row["verdict"] == "MISSED"]
    check.say(f"perf: {len(rows)} measurements, {len(missed)} limits missed")
    for row in missed:
        place = f"{row['section']} {row['subject']} {row['case']} {row['precision']}"
        check.say(f"  {place}: {row['quantity']} {float(row['median']):.3f}, limit {row['limit']}")
    return bool(rows)


def train_on_images(check: Check, until: float) -> bool:
    """Train on the images of the bundle with each strategy. Write runs.csv.

    Return whether all runs finished.
    """
    images, weights = check.bundle / "images", check.bundle / "mobilenet_v2.safetensors"
    if not images.is_dir():
        check.say(f"runs: all skipped; {images} does not exist, create it with `make cuda-bundle`")
        return False
    start = ["--weights", str(weights)] if weights.exists() else []
    rows = []
    for strategy, *options in STRATEGIES:
        results = check.place / f"run-{strategy}"
        command = [*COMMAND, "run", *RUN, "--data", f"folder:{images}", "--device", check.device]
        command += [*start, "--strategy", strategy, *options, "--results", str(results)]
        status = check.run(command, until) if time.monotonic() < until else None
        for file in results.glob("runs/*/result.json"):
            rows.append({"weights": bool(start), **describe_run(strategy, file)})
        if status != 0:
            why = "no time left" if status is None else f"status {status}"
            check.say(f"runs: {strategy} not finished ({why})")
        write_rows(check.out / "runs.csv", rows)
    check.say(f"runs: {len(rows)} of {len(STRATEGIES)} finished")
    return len(rows) == len(STRATEGIES)


def describe_run(strategy: str, file: Path) -> dict[str, Any]:
    """Return the row of runs.csv for a result.json."""
    result = json.loads(file.read_text())
    flops, states = result["flops"], [s for s in result["freeze_states"] if s["steps"]]
    return {
        "strategy": strategy,
        "status": result["status"],
        "accuracy": result["accuracy"],
        "evaluated": result["eval_count"],
        "steps": result["steps"],
        "flops_saved_exact": 1 - flops["exact"]["total"] / flops["full_exact"],
        "layers_frozen": sum(x["frozen_at_step"] is not None for x in result["layers"]),
        "train_s": result["clocks"]["train"],
        "decide_s": result["clocks"]["decide"],
        "saved_bytes_peak": result["memory"]["saved_bytes_peak"],
        "cuda_allocated_peak": result["memory"]["cuda_allocated_peak"],
        "first_state_step_s": states[0]["step_s_median"],
        "last_state_step_s": states[-1]["step_s_median"],
    }


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows to a CSV file. All rows have the same keys."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["nothing"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def make_environment(*packages: Path) -> dict[str, str]:
    """Return environment variables that put `packages` (folders) and the project on PYTHONPATH."""
    paths = [str(path) for path in (*packages, ROOT)]
    if loaded := os.environ.get("PYTHONPATH"):  # `module load` of a cluster sets it
        paths.append(loaded)
    return {**os.environ, "PYTHONPATH": ":".join(paths), "OMP_NUM_THREADS": "1"}


def install_wheels(check: Check) -> None:
    """Install the wheels of the bundle for the commands. If that fails, note why in the summary."""
    wheels = sorted(str(path) for path in check.bundle.glob("wheels/*.whl"))
    if not wheels:
        return
    target = check.place / "packages"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    command += ["--disable-pip-version-check", "--target", str(target), *wheels]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.splitlines() or ["no message"])[-1]
        check.say(f"wheels: not installed, pip ended with status {done.returncode}: {last}")
    else:
        check.environment = make_environment(target)


def read_limits(text: str) -> list[float]:
    """Return the time limits of the three parts in seconds, from minutes such as 3,3,2."""
    try:
        limits = [60 * float(minutes) for minutes in text.split(",")]
    except ValueError:
        limits = []
    if len(limits) != 3 or not all(0 < limit < math.inf for limit in limits):
        raise argparse.ArgumentTypeError(f"{text!r} must be three numbers above 0, such as 3,3,2")
    return limits


def main() -> int:
    """Run the three parts. Return 1 if a test failed, a part has no result or a run is missing.

    SIGTERM of a batch system and SIGHUP of a closed terminal have the effect of Ctrl-C. Return 130
    after these.
    """
    parser = argparse.ArgumentParser(description=__doc__, prog="make cuda")
    parser.add_argument("out", type=Path, help="output folder")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--bundle", type=Path, default=ROOT / "bundle")
    parser.add_argument(
        "--minutes",
        type=read_limits,
        dest="limits",
        default="3,3,2",
        metavar="MINUTES",
        help="time limits of the three parts in minutes",
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in FILES:  # a part without a result must not show that of another machine
        (args.out / name).unlink(missing_ok=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP
            signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="freezebench-cuda-") as place:
        bundle, environment = args.bundle.resolve(), make_environment()
        check = Check(args.out, args.device, bundle, Path(place), environment)
        return run_parts(check, args.limits)


def run_parts(check: Check, limits: Sequence[float]) -> int:
    """Install the wheels, run the parts and write summary.txt. Return the exit status.

    limits: time limits of the parts in seconds.
    """
    status = 0
    try:
        install_wheels(check)
        for part, seconds in zip((check_laws, measure_costs, train_on_images), limits, strict=True):
            began = time.monotonic()
            try:
                good = part(check, began + seconds)
            except KeyboardInterrupt:
                check.say(f"{part.__name__}: interrupted; later parts were not started")
                return 130
            except Exception as error:  # other parts do not depend on this one
                good, message = False, " ".join(str(error).split())
                check.say(f"{part.__name__}: {type(error).__name__}: {message}")
            status |= not good
            check.say(f"({part.__name__}: {time.monotonic() - began:.0f} of {seconds:.0f} s)")
        return status
    finally:
        (check.out / "summary.txt").write_text("\n".join(check.lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
