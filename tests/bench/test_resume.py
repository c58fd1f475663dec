"""A run that is killed at random moments ends with the same bits as one that is not."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from tiny_runs import essence, made, tiny, weights

from bench.errors import UserError
from bench.results import RunFolder
from bench.run import Stopped, execute
from bench.spec import Spec

STRATEGIES = [
    "full",
    "linear",
    "autofreeze",
    "cka_oracle",
    "smartfrz",
    "probe",
    "random",
    "shortened",
    "at_once",
]


def spec_of(strategy: str, results: Path, epochs: int = 2) -> Spec:
    """A tiny run, with the reference it may need made first."""
    changes: dict = {"epochs": epochs}
    if strategy == "cka_oracle":
        reference = tiny(seed=1000, keep_model=True)
        if not RunFolder(results, reference.id).done:
            made(reference, results)
        changes |= {"reference": f"run:{reference.id}", "options": {"epsilon": 0.5, "k": 2}}
    if strategy == "smartfrz":
        changes["options"] = {"stages_per_epoch": 3, "warmup": 0.0, "threshold": 0.2}
    return tiny(strategy, keep_model=True, **changes)


def slowly(values: dict, results: str) -> None:
    """Execute with a checkpoint at every step, slowly enough to be killed in the middle."""
    execute(
        Spec.from_dict(values),
        Path(results),
        progress=lambda step, steps: time.sleep(0.05),
        checkpoint_seconds=0,
    )


def assert_same(spec: Spec, one: Path, other: Path) -> None:
    assert essence(spec, one) == essence(spec, other)
    first, second = weights(spec, one), weights(spec, other)
    assert all(torch.equal(first[k], second[k]) for k in first)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_stopped_at_every_second_step(strategy: str, tmp_path: Path) -> None:
    spec = spec_of(strategy, tmp_path / "straight")
    made(spec, tmp_path / "straight")
    spec_of(strategy, tmp_path / "broken")
    for _ in range(20):
        calls = 0

        def every_second() -> bool:
            nonlocal calls
            calls += 1
            return calls == 2

        try:
            execute(spec, tmp_path / "broken", stop=every_second)
            break
        except Stopped:
            continue
    assert RunFolder(tmp_path / "broken", spec.id).result()["resumed"]
    assert_same(spec, tmp_path / "straight", tmp_path / "broken")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_killed_five_times_at_random_moments(strategy: str, tmp_path: Path) -> None:
    spec = spec_of(strategy, tmp_path / "straight", epochs=4)
    made(spec, tmp_path / "straight")
    broken, draw = tmp_path / "broken", random.Random(7)
    spec_of(strategy, broken)
    # Forked, since importing torch in five new processes would take most of the test's time.
    context = multiprocessing.get_context("fork")
    folder = RunFolder(broken, spec.id)
    kills = 0
    while not folder.done:
        process = context.Process(target=slowly, args=(spec.to_dict(), str(broken)))
        process.start()
        if kills < 5:
            wait_for_new_checkpoint(folder, process)
            time.sleep(draw.uniform(0, 0.06))
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
    assert kills == 5
    assert_same(spec, tmp_path / "straight", broken)


def wait_for_new_checkpoint(folder: RunFolder, process: multiprocessing.Process) -> None:
    """Wait until the process has written a checkpoint of its own."""
    path = folder.checkpoint
    before = path.stat().st_mtime_ns if path.exists() else 0
    while process.is_alive():
        if path.exists() and path.stat().st_mtime_ns != before:
            return
        time.sleep(0.005)


def test_an_unreadable_checkpoint_is_one_clear_line(tmp_path: Path) -> None:
    spec = tiny()
    folder = RunFolder(tmp_path, spec.id)
    with pytest.raises(Stopped):
        execute(spec, tmp_path, stop=lambda: True)
    folder.checkpoint.write_bytes(folder.checkpoint.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cannot be read.*delete it") as caught:
        execute(spec, tmp_path)
    assert "\n" not in str(caught.value)
    folder.checkpoint.unlink()
    assert execute(spec, tmp_path)["status"] == "done"
