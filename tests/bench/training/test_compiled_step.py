"""A compiled run trains as an eager run up to rounding, and compiles once per freeze state.

Most tests use the backend `aot_eager`, which runs the traced forward and backward graphs without
generated code, so they need no C++ compiler. Two tests compare generated code with eager mode on a
small model.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.nn import functional as F

from bench.costs.accounting import FreezeState
from bench.errors import UserError
from bench.layers.discovery import find_layers
from bench.layers.freezing import Freezer
from bench.results.comparison import read_reproducible as essence_of
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from bench.training import compiled_step
from bench.training.compiled_step import Compiled
from tests.support.device import DEVICE
from tests.support.interrupted_runs import assert_stops_change_nothing
from tests.support.paths import SUPPORT
from tests.support.small_models import FAMILIES
from tests.support.small_training import find_differing
from tests.support.tiny_runs import execute_run, load_weights, make_tiny_spec

STRATEGY = f"{SUPPORT}/half_then_more.py:HalfThenMore"
GRAPHS = "aot_eager"
CPU = torch.device("cpu")


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_step, "BACKEND", GRAPHS)


def freezing_run(**changes: Any) -> Spec:
    """Return a spec of 3 epochs of 7 steps, the last one short; layers freeze at three steps."""
    settings = {"keep_model": True, "epochs": 3, "train_limit": 200, **changes}
    return make_tiny_spec(STRATEGY, **settings)


def test_a_device_out_of_memory_is_not_blamed_on_the_compiler(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(torch.OutOfMemoryError):
        Compiled("a run", nn.Linear(2, 2), CPU, samples=4, threads=1)


@pytest.mark.usefixtures("graphs")
def test_compiled_training_equals_eager_training_up_to_rounding(tmp_path: Path) -> None:
    plain, other = freezing_run(), freezing_run(compiled=True)
    expected, result = execute_run(plain, tmp_path), execute_run(other, tmp_path)
    first, second = load_weights(plain, tmp_path), load_weights(other, tmp_path)
    trained = [name for name in first if "tracked" not in name]
    apart, alike = (torch.cat([w[n].flatten() for n in trained]) for w in (first, second))
    # On a CPU the traced graphs run the operators of the eager step. On CUDA, BatchNorm in the
    # graph rounds differently, and a relative change of 2**-22 in the initial weights grows to 3 %
    # in 19 steps.
    assert (apart - alike).norm() <= (0 if DEVICE == CPU else 0.15) * alike.norm()
    assert all(torch.equal(first[n], second[n]) for n in first if "tracked" in n)
    rows = [essence_of(RunFolder(tmp_path, spec.id).path)["epochs"] for spec in (plain, other)]
    losses = [[row["train_loss"] for row in of_run] for of_run in rows]
    assert len(losses[0]) == 3
    assert losses[0] == pytest.approx(losses[1], rel=5e-2)
    states = result["freeze_states"]
    assert [s["frozen"] for s in states] == [s["frozen"] for s in expected["freeze_states"]]
    assert all("compile_s" not in s for s in expected["freeze_states"])
    for state in (s for s in states if s["steps"]):
        assert 0 < state["compile_s"] < result["clocks"]["train"]
        assert state["saved_bytes"] > 0
    assert sum(s["compile_s"] for s in states) < result["clocks"]["train"]
    assert result["flops"] == expected["flops"]


@pytest.mark.usefixtures("graphs")
def test_stopping_at_every_third_step_does_not_change_the_weights(tmp_path: Path) -> None:
    assert_stops_change_nothing(freezing_run(compiled=True), tmp_path)


class Pair:
    """Model trained by compiled steps and a copy trained eagerly, with the same frozen layers."""

    def __init__(self, build: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        self.inputs = inputs
        self.models: list[nn.Module] = []
        self.freezers: list[Freezer] = []
        self.optimizers: list[torch.optim.Optimizer] = []
        for _ in range(2):
            torch.manual_seed(0)
            model = build().train()
            self.layers = find_layers(model, inputs)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
            self.models.append(model)
            self.freezers.append(Freezer(model, optimizer, self.layers))
            self.optimizers.append(optimizer)
        self.compiled = Compiled("a test", self.models[0], inputs[0].device, len(inputs[0]), 1)
        self.state = FreezeState(0, [], 0)

    def freeze(self, wanted: set[int]) -> None:
        for freezer in self.freezers:
            freezer.thaw(freezer.frozen - wanted)
            freezer.freeze(wanted - freezer.frozen)
        self.compiled.enter()
        self.state = FreezeState(0, sorted(wanted), 0)

    def step(self) -> tuple[float, float]:
        """Take one step with each model. Return the losses of the compiled and the eager step."""
        losses = []
        forwards = (self.compiled.forward, lambda inputs: self.models[1](*inputs))
        for forward, optimizer in zip(forwards, self.optimizers, strict=True):
            optimizer.zero_grad(set_to_none=True)
            torch.manual_seed(7)  # same dropout masks in both
            with self.compiled.step(len(self.inputs[0]), self.state):
                output = forward(self.inputs)
                labels = torch.arange(len(output), device=output.device) % output.shape[-1]
                loss = F.cross_entropy(output, labels)
                loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses[0], losses[1]


@pytest.mark.usefixtures("graphs")
def test_the_number_of_freeze_states_is_not_limited() -> None:
    """Use more states than torch.compile's recompile limit for one function. Some states thaw."""
    family = FAMILIES[0]
    pair = Pair(family.model, family.inputs(4))
    body = len(pair.layers) - 1
    for number in range(10):
        pair.freeze({i for i in range(body) if (number >> (i % 5)) & 1 or i == number % body})
        mine, other = pair.models
        frozen = [
            name
            for i in pair.state.frozen
            for name in mine.state_dict()
            if name in pair.layers[i].parameters
            or name.rpartition(".")[0] in pair.layers[i].modules
        ]
        before = {name: mine.state_dict()[name].clone() for name in frozen}
        for _ in range(2):
            losses = pair.step()
            assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        assert not find_differing({name: mine.state_dict()[name] for name in frozen}, before)
        assert pair.state.compile_s > 0
        gradients = [
            {n for n, p in m.named_parameters() if p.grad is not None} for m in (mine, other)
        ]
        assert gradients[0] == gradients[1]
        for name, value in other.state_dict().items():
            torch.testing.assert_close(mine.state_dict()[name], value, rtol=1e-3, atol=1e-5)


def small_net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(4 * 36, 8), nn.ReLU(), nn.Linear(8, 5),
    )  # fmt: skip


def assert_trains_as_eager(device: torch.device) -> None:
    torch.manual_seed(1)
    inputs = (torch.randn(6, 3, 8, 8, device=device),)
    pair = Pair(lambda: small_net().to(device), inputs)
    mine, other = pair.models
    for frozen in (set(), {0}):
        pair.freeze(frozen)
        before = {k: v.clone() for k, v in mine.state_dict().items()}
        for _ in range(4):
            losses = pair.step()
            assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        after = mine.state_dict()
        moved = {name for name in after if not torch.equal(after[name], before[name])}
        still = {name for name in after if name.split(".")[0] in ("0", "1")}
        assert moved == set(after) - (still if frozen else set())
        for name, value in other.state_dict().items():
            torch.testing.assert_close(after[name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_generated_code_trains_as_eager_mode() -> None:
    assert_trains_as_eager(CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_generated_code_and_cuda_graphs_train_as_eager_mode() -> None:
    assert_trains_as_eager(torch.device("cuda"))


class Fickle(nn.Module):
    """Model whose forward pass changes with every call, so it needs recompilation."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.calls = nn.Linear(3, 2), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.linear(x) * self.calls


class Broken(nn.Module):
    """Model that reads a tensor's value in forward, which breaks the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x if x.sum().item() > 0 else -x)


@pytest.mark.usefixtures("graphs")
@pytest.mark.parametrize("model", [Fickle(), Broken()], ids=["fickle", "broken"])
def test_a_model_that_cannot_be_compiled_once_is_rejected(model: nn.Module) -> None:
    compiled = Compiled("a run", model, CPU, 4, 1)

    def steps() -> None:
        for _ in range(3):
            with compiled.step(4, FreezeState(0, [], 0)):
                compiled.forward((torch.ones(4, 3),))

    with pytest.raises(UserError, match=r"^a run: .*compiled.*set compiled = false$") as caught:
        steps()
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("graphs")
def test_a_skipped_cuda_graph_raises_an_error() -> None:
    """Increment torch's counter of skipped CUDA graphs. Torch itself would continue without one."""
    compiled = Compiled("a run", nn.Linear(3, 2), CPU, 4, 1)

    def step() -> None:
        with compiled.step(4, FreezeState(0, [], 0)):
            compiled.forward((torch.ones(4, 3),))
            counters["inductor"]["cudagraph_skips"] += 1

    with pytest.raises(UserError, match="not capture its step as a CUDA graph"):
        step()


def test_a_missing_compiler_raises_an_error_before_training(tmp_path: Path) -> None:
    none = {"cpp.cxx": (str(tmp_path / "none"),)}
    with torch._inductor.config.patch(none), pytest.raises(UserError, match="C\\+\\+ compiler"):
        execute_run(make_tiny_spec(compiled=True, device="cpu"), tmp_path)


@pytest.mark.parametrize(
    "other", [{"cache_prefix": True}, {"fold_norms": True}, {"replicas": 2}], ids=str
)
def test_incompatible_options_are_rejected(other: dict) -> None:
    with pytest.raises(UserError, match="compiled") as caught:
        make_tiny_spec(compiled=True, augment="none", **other)
    assert "\n" not in str(caught.value)


def test_compiled_false_does_not_change_the_run_id() -> None:
    assert (
        make_tiny_spec(compiled=False).id == make_tiny_spec().id != make_tiny_spec(compiled=True).id
    )
