"""10,000 runs: planned and listed in seconds, submitted with as few sbatch calls as 100 runs."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.slurm.test_launching import wrapper
from tests.support.slurm_lab import Lab, list_queue, wait_until
from tests.support.synthetic_results import make_result

SEEDS = 2500  # of four methods
SECONDS = 15.0  # three times what was measured: a cost per pair of runs takes far longer


def timed(lab: Lab, *command: str) -> tuple[str, float]:
    """Return what a command printed, and its CPU seconds, which other processes do not affect."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    out = lab.finish(*command)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{command[0]}: {ended - began:.1f} s, CPU time {seconds:.1f} s")
    return out, seconds


@pytest.mark.usefixtures("closed")
def test_ten_thousand_runs_are_handled_in_seconds(lab: Callable[..., Lab], tmp_path: Path) -> None:
    sweep = tmp_path / "large.toml"
    text = (Path(__file__).parent / "tiny.toml").read_text()
    for number in range(3):
        text += f'\n[[methods]]\nname = "saving {number}"\nstrategy = "shortened"\n'
        text += f"options = {{saving = 0.{number + 1}}}\n"
    text = text.replace("seeds = [0, 1, 2, 3, 4, 5]", "seeds = [0]")
    sweep.write_text(text)
    here = lab(str(sweep), "--seeds", str(SEEDS))

    for _ in range(2):  # the first time fills the file cache
        out, plan_seconds = timed(here, "plan")
    assert "10000 runs" in out

    calls = {}
    for seeds in (25, SEEDS):
        counter = tmp_path / f"calls{seeds}"
        path = wrapper(tmp_path / "bin", f'echo >> {counter}; exec REAL "$@"')
        some = lab(str(sweep), "--seeds", str(seeds))
        began = time.monotonic()
        some.send(PATH=path)
        print(f"{seeds * 4} runs submitted in {time.monotonic() - began:.1f} s")
        calls[seeds] = len(counter.read_text().splitlines())
    assert calls[SEEDS] == calls[25] == 1
    assert len(list_queue()) <= 1001 + 1000
    out, queued_seconds = timed(some, "status")
    assert "10000 queued" in out
    some.run_command("cancel")
    wait_until(lambda: len(list_queue()) < 50, 60, "a shorter queue", some.log)

    roles = {"cell": "c", "model": "vgg11", "dataset": "cifar10", "seed": 0, "method": "full"}
    for number, run in enumerate(
        run for array in some.list_arrays() for p in array.packs for run in p
    ):
        folder = here.results / "runs" / run
        folder.mkdir(parents=True)
        (folder / "lock").touch()
        kind = number % 10
        if kind == 0:
            (folder / "failure.json").write_text(json.dumps({"reason": "no", "log": "here"}))
        elif kind == 1:
            (folder / "checkpoint.pt").touch()
        else:
            (folder / "result.json").write_text(
                json.dumps(make_result({"id": run, **roles}), indent=1)
            )
    for _ in range(2):
        out, status_seconds = timed(here, "status")
    assert "8000 done, 1000 interrupted, 1000 failed" in out
    print(
        f"plan {plan_seconds:.1f} s, status {status_seconds:.1f} s, queued {queued_seconds:.1f} s"
    )
    assert plan_seconds < SECONDS
    assert status_seconds < SECONDS
