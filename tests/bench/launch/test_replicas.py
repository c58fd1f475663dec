"""One run on two processes: equal to a run on one process, resumable, and never half done."""

import multiprocessing
import os
import re
import signal
import socket
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.batches.order import IGNORED_LABEL
from bench.batches.texts import make_text_batches
from bench.cli.main import main
from bench.distributed.process_group import ProcessGroup
from bench.errors import ProcessLost, Stopped, UserError
from bench.files import read_json
from bench.launch.pool import Pool
from bench.launch.processes.replicas import execute_replicas
from bench.planning.plan import make_plan
from bench.results.evaluation_file import read_evaluation
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from tests.support.paths import SUPPORT
from tests.support.tiny_runs import (
    execute_run,
    load_essence,
    load_weights,
    make_tiny_spec,
    predict_samples,
)

OPTIONS: dict[str, dict[str, Any]] = {
    "smartfrz": {"stages_per_epoch": 3, "warmup": 0.0, "threshold": 0.2},
}


def pair(strategy: str, **changes: Any) -> Spec:
    """Return the spec of a run on two processes, by default without BatchNorm and dropout."""
    if strategy in OPTIONS:
        changes["options"] = OPTIONS[strategy]
    values = {"model": "laptop_deit", "augment": "standard", "keep_model": True, "replicas": 2}
    return make_tiny_spec(strategy, **{**values, **changes})


TEXTS = {"augment": "standard", "optimizer": "adamw", "lr": 1e-3, "epochs": 1, "train_limit": 100}


@pytest.mark.parametrize(
    ("strategy", "changes"),
    [
        ("linear", {}),
        ("autofreeze", {}),
        ("smartfrz", {}),
        ("lisa", {"options": {"K": 2}}),  # sums gradients by one all_reduce
        ("linear", {**TEXTS, "model": "laptop_bert", "data": "grammar:acceptability"}),
        ("full", {**TEXTS, "model": "laptop_bert_mlm", "data": "grammar"}),
        ("linear", {**TEXTS, "model": "laptop_llama", "data": "grammar:paraphrase"}),
    ],
)
def test_without_batchnorm_two_processes_give_the_results_of_one(
    strategy: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    two = pair(strategy, **changes)
    one = two.with_changes(replicas=1)
    assert one.id != two.id
    shared = execute_replicas(two, tmp_path)
    alone = execute_run(one, tmp_path)
    assert [s["frozen"] for s in shared["freeze_states"]] == [
        s["frozen"] for s in alone["freeze_states"]
    ]
    if strategy not in ("full", "lisa"):
        assert shared["freeze_states"][-1]["frozen"]
    for convention in ("paper", "exact"):
        assert shared["flops"][convention] == alone["flops"][convention]
    assert shared["flops"]["decide"] == 2 * alone["flops"]["decide"]
    assert shared["accuracy"] == pytest.approx(alone["accuracy"], abs=0.5)
    first, second = load_weights(two, tmp_path), load_weights(one, tmp_path)
    for name, value in second.items():
        assert torch.allclose(first[name], value, rtol=1e-3, atol=1e-5), name
    losses = [
        [row["train_loss"] for row in load_essence(spec, tmp_path)["epochs"]] for spec in (two, one)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    predicted, labels = predict_samples(two, tmp_path)
    outcomes = read_evaluation(RunFolder(tmp_path, two.id).path).correct
    asked = labels != IGNORED_LABEL
    assert (outcomes == (predicted == labels)[asked]).all()  # in the order of the samples


@pytest.mark.parametrize("model", ["laptop_bert", "laptop_bert_mlm", "laptop_llama"])
def test_the_shares_of_a_batch_of_texts_are_the_rows_of_the_whole(model: str) -> None:
    """Compare padding and masked words with those of one process."""
    data = "grammar" if model == "laptop_bert_mlm" else "grammar:paraphrase"
    spec = pair("full", **{**TEXTS, "model": model, "data": data})
    device = torch.device("cpu")
    whole, _ = make_text_batches(spec, "test", device)
    parts = [make_text_batches(spec, "test", device, ProcessGroup(r, 2))[0] for r in range(2)]
    for step in range(whole.steps_per_epoch):
        inputs, labels = whole.batch(step)
        shares = [part.batch(step) for part in parts]
        assert torch.equal(torch.cat([share[1] for share in shares]), labels)
        for index, expected in enumerate(inputs):
            assert torch.equal(torch.cat([share[0][index] for share in shares]), expected)
    dealt = [list(part.evaluation()) for part in parts]
    for number, (inputs, labels) in enumerate(whole.evaluation()):
        own_inputs, own_labels = dealt[number % 2][number // 2]
        assert torch.equal(own_labels, labels)
        assert all(torch.equal(a, b) for a, b in zip(own_inputs, inputs, strict=True))


def test_a_frozen_prefix_is_not_communicated(tmp_path: Path) -> None:
    result = execute_replicas(pair("linear"), tmp_path)
    sizes = [layer["parameters"] for layer in result["layers"]]
    states = [state for state in result["freeze_states"] if state["steps"]]
    assert len(states) > 2
    for state in states:
        trains = sum(n for i, n in enumerate(sizes) if i not in state["frozen"])
        assert state["sent"] == state["steps"] * 4 * trains  # float32
    per_step = [state["sent"] / state["steps"] for state in states]
    assert per_step == sorted(per_step, reverse=True)
    assert per_step[-1] < per_step[0]


class StopRequest:
    """Stop request that is set after the first step of a run."""

    def __init__(self) -> None:
        self.seen = False

    def stop(self) -> bool:
        return self.seen

    def progress(self, step: int, steps: int) -> None:
        self.seen = True


@pytest.mark.parametrize("model", ["laptop_deit", "laptop_resnet"])
def test_a_stopped_and_resumed_run_gives_identical_results(model: str, tmp_path: Path) -> None:
    spec = pair("autofreeze", model=model, epochs=6)
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    execute_replicas(spec, straight)
    request = StopRequest()
    with pytest.raises(Stopped):
        execute_replicas(spec, broken, stop=request.stop, progress=request.progress)
    folder = RunFolder(broken, spec.id)
    assert folder.checkpoint.exists()
    assert not folder.done
    assert execute_replicas(spec, broken)["resumed"]
    assert load_essence(spec, straight) == load_essence(spec, broken)
    first, second = load_weights(spec, straight), load_weights(spec, broken)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_killed_process_raises_process_lost_and_the_run_can_resume(tmp_path: Path) -> None:
    spec = pair("autofreeze", epochs=20)
    folder = RunFolder(tmp_path, spec.id)

    def kill_one(step: int, steps: int) -> None:
        if folder.checkpoint.exists():
            os.kill(multiprocessing.active_children()[-1].pid, signal.SIGKILL)

    with pytest.raises(ProcessLost, match=r"of 2 ended with exit code -9; run the same") as e:
        execute_replicas(spec, tmp_path, progress=kill_one, checkpoint_seconds=0)
    assert "\n" not in str(e.value)
    assert folder.checkpoint.exists()
    assert execute_replicas(spec, tmp_path)["resumed"]


def test_sigterm_stops_all_processes_like_ctrl_c(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "bench.cli.main", "run", "--model", "laptop_deit",
        "--data", "digits10",
        "--resolution", "24", "--epochs", "300", "--train-limit", "96", "--replicas", "2",
        "--results", str(tmp_path),
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/epochs.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)  # to every process, as `timeout` does
    _, words = process.communicate(timeout=120)
    assert process.returncode == 130, words
    assert "leaked" not in words
    assert list(tmp_path.glob("runs/*/checkpoint.pt"))
    assert not list(tmp_path.glob("runs/*/failure.json"))


def test_a_pool_executes_such_runs_and_reports_processes_that_disagree(tmp_path: Path) -> None:
    good = pair("full", data="digits10", seed=1)
    bad = pair(f"{SUPPORT}/of_its_own_mind.py:OfItsOwnMind")
    outcome = Pool(make_plan([good, bad], tmp_path), tmp_path, 1, SilentWatcher()).run()
    assert [s.id for s in outcome.finished] == [good.id]
    assert "process 1 of 2 and process 0 differ in their weights" in outcome.failed[bad.id]
    folder = RunFolder(tmp_path, bad.id)
    assert "check_same" in (folder.path / "traceback.txt").read_text()
    assert "killed" not in read_json(folder.path / "failure.json")


def test_a_killed_fork_server_is_a_lost_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expect ProcessLost, after which a job on Slurm tries the run again."""

    def connect(descriptors: Any) -> Any:
        raise EOFError("unexpected EOF")

    monkeypatch.setattr(forkserver, "connect_to_new_process", connect)
    with pytest.raises(ProcessLost, match=r"process 0 of 2 .* fork server was killed; run the"):
        execute_replicas(pair("full"), tmp_path)


class SilentWatcher:
    """Watcher that ignores all events."""

    def started(self, spec: Spec) -> None: ...
    def stepped(self, spec: Spec, step: int, steps: int) -> None: ...
    def finished(self, spec: Spec, result: dict[str, Any]) -> None: ...
    def found(self, spec: Spec, result: dict[str, Any]) -> None: ...
    def failed(self, spec: Spec, reason: str) -> None: ...


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 31}, "batch_size = 31 is not divisible by replicas = 2"),
        ({"batch_size": 2}, "leaves each of 2 processes one sample"),
        ({"augment": "none", "cache_prefix": True}, "cache_prefix works in one process"),
        ({"fold_norms": True}, "fold_norms works in one process"),
    ],
)
def test_options_that_need_one_process_raise_with_replicas(
    change: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        make_tiny_spec(replicas=2, **change)


def launch_on_two_machines(results: Path, *more: str) -> tuple[int, int, str]:
    """Return the exit statuses of a run's two machines, and the error output of the second.

    This process is the first machine. The second takes seconds to start, so it comes later.
    """
    command = [
        "run", "--model", "laptop_deit", "--data", "digits10", "--resolution", "24",
        "--epochs", "1", "--train-limit", "96", "--replicas", "2", "--nodes", "2",
        "--rendezvous", choose_address(), "--results", str(results), *more,
    ]  # fmt: skip
    second = subprocess.Popen(
        [sys.executable, "-m", "bench.cli.main", *command], stderr=subprocess.PIPE, text=True
    )
    status = main(command)
    said = second.communicate(timeout=120)[1]
    return status, second.returncode, said


def choose_address() -> str:
    """Return an address of this machine with a free port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_two_machines_that_meet_execute_a_run_as_one_would(tmp_path: Path) -> None:
    status, other, said = launch_on_two_machines(tmp_path / "two")
    assert (status, other) == (0, 0), said
    assert "machine 2 of 2" in said
    (folder,) = (tmp_path / "two" / "runs").iterdir()
    values = {k: v for k, v in read_json(folder / "spec.json").items() if k not in ("id", "cell")}
    spec = Spec.from_dict({**values, "nodes": 1})
    assert spec.id == folder.name  # the number of machines is not in the id
    execute_replicas(spec, tmp_path / "one")
    assert load_essence(spec, tmp_path / "one") == load_essence(spec, tmp_path / "two")


FATAL = """
import os
import signal
from strategies.base import AtSteps, Decision, Strategy

class Fatal(Strategy):
    name = "fatal"
    def stages(self):
        return AtSteps(frozenset({2}))
    def decide(self, view):
        if os.environ.get("RANK") == "1":  # the second machine
            os.kill(os.getpid(), signal.SIGKILL)
        return [Decision(0, freeze=True)]
"""


def test_a_process_killed_on_one_machine_ends_the_run_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "fatal.py"
    file.write_text(FATAL)
    status, other, said = launch_on_two_machines(tmp_path, "--strategy", f"{file}:Fatal")
    assert (status, other) == (2, 0), said
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(r"error: .*process 1 of 2 ended with exit code -9; run the same command", line)
    (failure,) = tmp_path.glob("runs/*/failure.json")
    assert read_json(failure)["killed"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--replicas", "4", "--nodes", "3"], "replicas = 4 is not divisible by nodes = 3"),
        (["--replicas", "2", "--nodes", "2"], "needs its other machines; give --rendezvous"),
        (["--rendezvous", "127.0.0.1:29500"], "pass --nodes NUMBER too"),
        (["--rendezvous", "29500", "--replicas", "2", "--nodes", "2"], "give HOST:PORT"),
    ],
)
def test_nodes_without_their_other_options_raise(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "--model", "laptop_deit", "--data", "digits10", "--resolution", "24"]
    assert main([*command, *options, "--results", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err.strip().splitlines()[-1]
