"""Tests that one line asks for what a strategy needs, and that training with it then completes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune

from bench.api import Freezing
from bench.errors import UserError
from bench.strategy_api.built_in import find_built_in
from bench.strategy_api.registry import load_strategy_class
from tests.support.tiny_loop import STEPS, TinyLoop, make_batch
from tests.support.tiny_view import build_tiny_net

SAMPLES = 300
NEEDS = {
    **dict.fromkeys(("auto_rgn", "cka_oracle", "egeria", "greentrainer", "record", "simfreeze"),
                    "give probe=(inputs, labels)"),
    "linear": "Freezing.parameter_groups",
}  # fmt: skip


def group_by_layer(parameters: Any) -> torch.optim.Optimizer:
    own = list(parameters)
    groups = [{"params": own[:4]}, {"params": own[4:6]}, {"params": own[6:]}]
    return torch.optim.SGD(groups, lr=0.05)


@pytest.mark.parametrize("name", find_built_in())
def test_a_strategy_says_what_it_needs_before_training_and_then_trains(
    name: str, tmp_path: Path
) -> None:
    """Expect the message in NEEDS, then train with what it asks for.

    A strategy that is not in NEEDS trains to the end without further arguments.
    """
    if name not in NEEDS:
        TinyLoop(name).train()
        return
    with pytest.raises(UserError) as error:
        TinyLoop(name)
    assert NEEDS[name] in str(error.value)
    assert "\n" not in str(error.value)
    save_file(build_tiny_net(seed=1).state_dict(), tmp_path / "reference.safetensors")
    inputs, labels = make_batch(99, SAMPLES)
    cls = load_strategy_class(name)
    files = {"reference": tmp_path / "reference.safetensors"} if cls.needs_reference else {}
    given = labels if cls.needs_probe == "labels" else None
    optimizer = group_by_layer if cls.sets_learning_rates else None
    report = TinyLoop(name, optimizer, files=files, probe=(inputs, given)).train().freezing.report()
    assert report.steps == STEPS
    assert bool(report.decide) == bool(cls.needs_probe)


@pytest.mark.parametrize("name", ["cka_oracle", "record"])
def test_a_missing_reference_is_asked_for(name: str) -> None:
    with pytest.raises(UserError, match=r'give files=\{"reference": PATH\}'):
        TinyLoop(name, probe=(make_batch(0, SAMPLES)[0], None))


def test_probe_gradients_need_labels_and_enough_samples() -> None:
    with pytest.raises(UserError, match="labels too"):
        TinyLoop("greentrainer", probe=(make_batch(0)[0], None))
    with pytest.raises(UserError, match="looks at 64 training samples, but probe holds 4"):
        TinyLoop("simfreeze", probe=(make_batch(0)[0], None))


def test_the_loss_must_be_given_if_the_strategy_reads_it() -> None:
    loop = TinyLoop("egeria", probe=make_batch(0, SAMPLES))
    with pytest.raises(UserError, match=r"reads the training loss; call step\(loss\)"):
        loop.freezing.step()


def test_a_shorter_training_is_refused() -> None:
    with pytest.raises(UserError, match=r"trains for 8 steps, not 12; .*leave out `saving`"):
        TinyLoop("shortened", options={"saving": 0.3})


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "strategy": ({"strategy": "smartfry"}, "did you mean 'smartfrz'"),
    "option": ({"strategy": "lisa", "options": {"k": 3}}, "option 'k' is unknown"),
    "steps": ({"total_steps": 0}, "total_steps = 0 is not valid"),
    "epoch": ({"steps_per_epoch": 2.5}, "steps_per_epoch = 2.5 is not valid"),
    "example": ({"example": [1, 2]}, "example holds int, int"),
    "no example": ({"example": None}, "example holds NoneType"),
    "no samples": ({"example": torch.ones(0, 3, 8, 8)}, r"holds Tensor of shape \(0, 3, 8, 8\)"),
    "labels": ({"example": make_batch(0)}, r"cannot run on the example \(TypeError: .*labels"),
    "shape": ({"example": torch.ones(4, 1, 8, 8)}, "cannot run on the example"),
    "type": ({"example": make_batch(0)[0].double()}, "cannot run on the example"),
    "probe": ({"probe": make_batch(0)[0]}, r"give probe=\(inputs, labels\)"),
    "few labels": ({"probe": (make_batch(0)[0], torch.ones(3))}, r"\(4\) and of labels \(3\)"),
    "no such file": (
        {"strategy": "smartfrz", "files": {"predicter": __file__}},
        "reads no file 'predicter'; the files that it reads: predictor",
    ),
    "seed": ({"seed": None}, "seed = None is not valid"),
    "rate": ({"base_lr": "0.1"}, "base_lr = '0.1' is not valid"),
    "no rate": ({"base_lr": float("nan")}, "base_lr = nan is not valid"),
    "file": ({"strategy": "smartfrz", "files": {"predictor": "no.file"}}, "no.file does not exist"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_arguments_get_one_line(case: str) -> None:
    changes, message = WRONG[case]
    with pytest.raises(UserError, match=message) as error:
        TinyLoop(changes.pop("strategy", "full"), **changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("samples", [-8, 0, 2.5, "8", float("nan")])
def test_a_wrong_number_of_samples_is_refused(samples: Any) -> None:
    loop = TinyLoop("full")
    with pytest.raises(UserError, match=f"samples = {samples!r} is not valid"):
        loop.freezing.step(samples=samples)


def test_several_losses_are_refused() -> None:
    loop = TinyLoop("full")
    with pytest.raises(UserError, match=r"a loss of shape \(4,\); give .* one number"):
        loop.freezing.step(torch.ones(4))


def test_numbers_of_numpy_are_saved_as_plain_numbers(tmp_path: Path) -> None:
    loop = TinyLoop("full", total_steps=np.int64(12), base_lr=np.float32(0.5), seed=np.int64(3))
    loop.freezing.step(samples=np.int64(4))
    torch.save(loop.freezing.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert (state["total_steps"], state["base_lr"], state["seed"]) == (12, 0.5, 3)


def test_a_group_outside_of_the_model_has_no_layer_rate() -> None:
    model = build_tiny_net()
    groups = Freezing.parameter_groups(model, make_batch(0)[0])
    groups.append({"params": [nn.Parameter(torch.ones(1))]})
    with pytest.raises(UserError, match="group 3 does not hold the parameters"):
        TinyLoop("linear", lambda _: torch.optim.SGD(groups, lr=0.1), model)


def test_unsupported_models_are_refused() -> None:
    plain = build_tiny_net()
    with pytest.raises(UserError, match="DataParallel is not supported"):
        Freezing.parameter_groups(nn.DataParallel(plain), make_batch(0)[0])
    with pytest.raises(UserError, match="function is not a model"):
        Freezing.parameter_groups(make_batch, make_batch(0)[0])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the model is compiled; pass the model inside"):
        Freezing.parameter_groups(torch.compile(plain), make_batch(0)[0])
    plain.get_submodule("3").requires_grad_(False)
    with pytest.raises(UserError, match="layer 3 does not train"):
        TinyLoop("full", model=plain)


def test_models_that_cannot_be_copied_or_are_not_complete_are_refused() -> None:
    pruned = build_tiny_net()
    prune.random_unstructured(pruned.get_submodule("0"), "weight", 0.5)
    with pytest.raises(UserError, match=r"cannot be copied \(.*make pruning permanent"):
        TinyLoop("full", model=pruned)
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.Linear(8, 5))
    with pytest.raises(UserError, match=r"part 1 of the model has no weights yet; .* batch first"):
        Freezing.parameter_groups(lazy, make_batch(0)[0])


def test_sparse_gradients_and_complex_weights_are_refused() -> None:
    sparse = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Flatten(), nn.Linear(8, 5))
    with pytest.raises(UserError, match=r"part 0 .* sparse gradients, .* with sparse=False"):
        Freezing.parameter_groups(sparse, torch.zeros(2, 2, dtype=torch.long))
    spectral = nn.Sequential(nn.Flatten(), nn.Linear(8, 5, dtype=torch.complex64))
    with pytest.raises(UserError, match="part 1 of the model has complex weights"):
        Freezing.parameter_groups(spectral, torch.zeros(2, 8))


PARTS: dict[str, tuple[Any, str]] = {
    "compiled": (torch.compile, r"part 3 of the model is compiled; .*compile\(\) of that part"),
    "wrapped": (nn.DataParallel, r"DataParallel is not supported \(part 3 of the model\)"),
    "scripted": (torch.jit.script, "part 3 of the model is a ScriptModule"),
}


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_models_with_an_unsupported_part_are_refused(kind: str) -> None:
    wrap, message = PARTS[kind]
    model = build_tiny_net()
    model.set_submodule("3", wrap(model.get_submodule("3")))
    with pytest.raises(UserError, match=message):
        TinyLoop("full", model=model)


def test_a_model_that_compiles_a_function_in_its_forward_is_refused() -> None:
    class Compiling(nn.Sequential):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(torch.compile(torch.relu, backend="eager")(x))

    with pytest.raises(UserError, match=r"FLOPs of Compiling cannot be counted .*torch\.compile"):
        TinyLoop("full", model=Compiling(*build_tiny_net().children()))


def test_a_process_group_is_refused(tmp_path: Path) -> None:
    """Refuse a process group.

    DistributedDataParallel fails after the first freeze, and leaves no trace on the model.
    """
    from torch import distributed

    place = f"file://{tmp_path}/group"
    distributed.init_process_group("gloo", rank=0, world_size=1, init_method=place)
    try:
        with pytest.raises(UserError, match=r"torch\.distributed is in use; .*without init_proc"):
            TinyLoop("full")
    finally:
        distributed.destroy_process_group()


def test_training_longer_than_planned_warns_and_changes_nothing() -> None:
    loop = TinyLoop(options={"script": "2+0"}).train()
    with pytest.warns(UserWarning, match="goes on after total_steps"):
        loop.take_step(STEPS)
    assert loop.freezing.report().steps == STEPS
    assert loop.freezing.frozen == {0}
