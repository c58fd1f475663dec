"""A run that is killed or stopped ends bit-identical to an uninterrupted run.

`make soak` (tests/soak) repeats this at random times, with launchers and on Slurm.
"""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.errors import Stopped, UserError
from bench.results.run_folder import RunFolder
from bench.results.run_status import read_status
from bench.spec import Spec
from bench.strategy_api.built_in import find_built_in
from bench.training.checkpoint import save_checkpoint
from bench.training.loop import execute
from tests.support.device import DEVICE
from tests.support.interrupted_runs import assert_same_bits, execute_with_stops
from tests.support.paths import SUPPORT
from tests.support.tiny_runs import execute_run, make_tiny_spec

# Fork on a CPU, because importing torch in every new process would dominate the tests' time. CUDA
# cannot be used in a forked process.
CONTEXT = multiprocessing.get_context("fork" if DEVICE.type == "cpu" else "spawn")
STRATEGIES = list(find_built_in())
NEED_A_REFERENCE = {
    "cka_oracle": {"epsilon": 0.5, "k": 2},
    "record": {"samples": 16, "batch": 16, "gradient": True},
}


def spec_of(strategy: str, results: Path) -> Spec:
    """Return a tiny spec. Execute the reference run first if the strategy needs one."""
    changes: dict = {}
    if strategy in NEED_A_REFERENCE:
        reference = make_tiny_spec(seed=1000, keep_model=True)
        if not RunFolder(results, reference.id).done:
            execute_run(reference, results)
        options = NEED_A_REFERENCE[strategy]
        changes |= {"reference": f"run:{reference.id}", "options": options}
    if strategy == "smartfrz":
        changes["options"] = {"stages_per_epoch": 3, "warmup": 0.0, "threshold": 0.2}
    return make_tiny_spec(strategy, keep_model=True, **changes)


def cached_run() -> Spec:
    """Return a spec whose frozen half is cached partly in memory, partly on disk, partly not."""
    freezes = f"{SUPPORT}/half_then_more.py:HalfThenMore"
    budgets = {"cache_device_mib": 0, "cache_host_mib": 1, "cache_disk_mib": 1}
    changes = {"augment": "none", "cache_prefix": True, "fold_norms": True, **budgets}
    return make_tiny_spec(freezes, keep_model=True, epochs=4, **changes)


def slowly(values: dict, results: str) -> None:
    """Execute a run with a checkpoint and a pause at every step, so that it can be killed."""
    execute(
        Spec.from_dict(values),
        Path(results),
        progress=lambda step, steps: time.sleep(0.05),
        checkpoint_seconds=0,
    )


def killed_at(step: int, values: dict, results: str) -> None:
    """Execute a run with a checkpoint at every step, and kill this process after a step."""

    def progress(now: int, steps: int) -> None:
        if now == step:  # before the checkpoint of this step, so that the step is taken again
            os.kill(os.getpid(), signal.SIGKILL)

    execute(Spec.from_dict(values), Path(results), progress=progress, checkpoint_seconds=0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_kill_and_repeated_stops_do_not_change_a_run(strategy: str, tmp_path: Path) -> None:
    """Kill the process once, then stop and resume the run after every third step."""
    spec = spec_of(strategy, tmp_path / "straight")
    execute_run(spec, tmp_path / "straight")
    spec_of(strategy, tmp_path / "broken")
    step = random.Random(strategy).randint(2, 8)
    task = (step, spec.to_dict(), str(tmp_path / "broken"))
    process = CONTEXT.Process(target=killed_at, args=task)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    saved = torch.load(RunFolder(tmp_path / "broken", spec.id).checkpoint, weights_only=True)
    assert saved["step"] == step - 1
    assert execute_with_stops(3, spec, tmp_path / "broken") >= 1
    assert RunFolder(tmp_path / "broken", spec.id).result()["resumed"]
    assert_same_bits(spec, tmp_path / "straight", tmp_path / "broken")


def test_kills_do_not_change_a_run_with_a_cached_prefix(tmp_path: Path) -> None:
    spec = cached_run()
    execute_run(spec, tmp_path / "straight")
    assert_kills_change_nothing(spec, tmp_path)


def assert_kills_change_nothing(spec: Spec, place: Path) -> None:
    """Assert that five kills give the same bits as the uninterrupted run in `place/straight`."""
    broken, draw = place / "broken", random.Random(7)
    folder = RunFolder(broken, spec.id)
    kills = 0
    while not folder.done:
        process = CONTEXT.Process(target=slowly, args=(spec.to_dict(), str(broken)))
        process.start()
        if kills < 5:
            wait_for_new_checkpoint(folder, process)
            time.sleep(draw.uniform(0, 0.06))
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
            process.join()
        else:
            process.join()
            assert process.exitcode == 0
    assert kills == 5
    assert_same_bits(spec, place / "straight", broken)


def wait_for_new_checkpoint(folder: RunFolder, process: multiprocessing.Process) -> None:
    """Wait until the process has written a new checkpoint or ended."""
    path = folder.checkpoint
    before = path.stat().st_mtime_ns if path.exists() else 0
    while process.is_alive():
        if path.exists() and path.stat().st_mtime_ns != before:
            return
        time.sleep(0.005)


def test_a_state_that_a_checkpoint_cannot_hold_is_rejected(tmp_path: Path) -> None:
    """Reject numpy values, because a checkpoint holds only tensors and plain Python values."""
    for bad, where in (
        (
            {"rows": [np.float64(1.0)]},
            r"an element of .*state_dict\(\)\['rows'\] has the type numpy.float64",
        ),
        ({np.int64(3): 1}, r"a key of .*state_dict\(\) has the type numpy.int64"),
    ):
        with pytest.raises(UserError, match=where):
            save_checkpoint(tmp_path / "checkpoint.pt", {"strategy": bad})
    assert not list(tmp_path.iterdir())


def test_an_unreadable_checkpoint_gives_a_one_line_error(tmp_path: Path) -> None:
    spec = make_tiny_spec("autofreeze")
    folder = RunFolder(tmp_path, spec.id)
    with pytest.raises(Stopped):
        execute(spec, tmp_path, stop=lambda: True)
    whole = folder.checkpoint.read_bytes()
    lacking = torch.load(folder.checkpoint, weights_only=True)
    del lacking["strategy"]["sums"]
    torch.save(lacking, folder.checkpoint)
    with pytest.raises(UserError, match=r"no 'sums', so another version .* wrote it"):
        execute(spec, tmp_path)
    folder.checkpoint.write_bytes(whole[:1000])
    with pytest.raises(UserError, match=r"cannot be read.*delete it") as caught:
        execute(spec, tmp_path)
    assert "\n" not in str(caught.value)
    folder.checkpoint.unlink()
    assert execute(spec, tmp_path)["status"] == "done"


def test_a_checkpoint_with_parameters_in_another_order_is_one_line(tmp_path: Path) -> None:
    spec = make_tiny_spec()
    stops = iter([False] * 3)
    with pytest.raises(Stopped):
        execute(spec, tmp_path, stop=lambda: next(stops, True))
    path = RunFolder(tmp_path, spec.id).checkpoint
    state = torch.load(path, weights_only=True)
    momenta = state["optimizer"]["state"]
    state["optimizer"]["state"] = dict(zip(momenta, reversed(momenta.values()), strict=True))
    save_checkpoint(path, state)
    with pytest.raises(UserError, match=r"in another order, .* delete checkpoint\.pt"):
        execute(spec, tmp_path)


def test_a_stopped_repetition_leaves_the_record_of_the_finished_run(tmp_path: Path) -> None:
    spec = make_tiny_spec("autofreeze")
    execute_run(spec, tmp_path)
    folder = RunFolder(tmp_path, spec.id)
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    kept = spec.with_changes(keep_model=True)
    steps: list[int] = []
    with pytest.raises(Stopped):
        execute(
            kept,
            tmp_path,
            stop=lambda: steps[-1] == 4,
            progress=lambda step, _: steps.append(step),
        )
    assert {p.name: p.read_bytes() for p in folder.path.iterdir() if p.is_file()} == before
    assert not folder.is_complete(kept)
    assert read_status(kept, tmp_path).state == "interrupted"
    folder.write("failure.json", {"reason": "an earlier attempt"})
    result = execute(kept, tmp_path)
    assert not (folder.path / "failure.json").exists()
    assert result["resumed"]
    assert folder.is_complete(kept)
    assert folder.result() == result
    assert not (folder.path / "repeat").exists()
    assert (folder.path / "decisions.jsonl").read_bytes() == before["decisions.jsonl"]
