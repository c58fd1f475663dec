"""Tests of PyTorch's and users' optimizers: frozen layers never move, thawed layers train again."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import nn

from bench.errors import UserError
from tests.support.small_training import find_differing
from tests.support.tiny_loop import STEPS, Scripted, TinyLoop, make_batch
from tests.support.tiny_view import build_tiny_net

SETTINGS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "weight_decay": 0.1},
    "Adam": {"amsgrad": True, "weight_decay": 0.1},
    "AdamW": {"weight_decay": 0.1},
    "RMSprop": {"momentum": 0.9, "weight_decay": 0.1},
    "NAdam": {}, "RAdam": {}, "Adamax": {}, "Adadelta": {}, "ASGD": {}, "Rprop": {},
    "Adafactor": {}, "Adagrad": {},
}  # fmt: skip
REFUSED = {"LBFGS": "closure", "SparseAdam": "dense gradients"}
OTHER = {"Muon": "matrices only"}


def list_optimizers() -> set[str]:
    """Return the names of all optimizers of this version of PyTorch."""
    found = inspect.getmembers(torch.optim, inspect.isclass)
    base = torch.optim.Optimizer
    return {name for name, kind in found if issubclass(kind, base) and kind is not base}


def test_every_optimizer_of_pytorch_is_known_here() -> None:
    assert list_optimizers() <= {*SETTINGS, *REFUSED, *OTHER}


@pytest.mark.parametrize("name", SETTINGS)
def test_frozen_layers_keep_their_bits_and_thawed_layers_move(name: str) -> None:
    loop = TinyLoop(
        Scripted(script="3+01 8-0"),
        lambda p: getattr(torch.optim, name)(p, lr=0.01, **SETTINGS[name]),
    )
    loop.train(0, 3)
    frozen = [loop.copy_layer(layer) for layer in (0, 1)]
    loop.train(3, 8)
    assert not any(find_differing(loop.copy_layer(layer), frozen[layer]) for layer in (0, 1))
    loop.train(8, 12)
    assert not find_differing(loop.copy_layer(1), frozen[1])
    # BatchNorm cancels the bias before it, whose gradient is only rounding.
    assert {*frozen[0]} - {*find_differing(loop.copy_layer(0), frozen[0])} <= {"0.bias"}


@pytest.mark.parametrize("name", REFUSED)
def test_other_optimizers_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=REFUSED[name]):
        TinyLoop(optimizer=getattr(torch.optim, name))


class DecaysEverything(torch.optim.SGD):
    """Optimizer that also decays weights without a gradient, through `.data`."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.mul_(0.9)
        return super().step(closure)


def test_an_optimizer_that_moves_frozen_layers_is_refused() -> None:
    with pytest.raises(UserError, match="updates parameters that have no gradient"):
        TinyLoop(optimizer=DecaysEverything)


def test_the_trial_leaves_optimizer_and_scheduler_alone() -> None:
    made: list[torch.optim.Optimizer] = []

    def make(parameters: Any) -> torch.optim.Optimizer:
        made.append(torch.optim.Adam(parameters, lr=0.1))
        torch.optim.lr_scheduler.StepLR(made[0], 1)
        return made[0]

    loop = TinyLoop(optimizer=make)
    assert not made[0].state
    assert made[0].param_groups[0]["lr"] == 0.1
    assert [p is q for p, q in zip(loop.model.parameters(), made[0].param_groups[0]["params"],
                                   strict=True)]  # fmt: skip


def test_an_empty_parameter_group_is_accepted() -> None:
    def make(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW([{"params": list(parameters)}, {"params": []}], lr=0.01)

    assert TinyLoop(optimizer=make).train().freezing.frozen == {0, 1}


def test_an_optimizer_without_all_parameters_is_refused() -> None:
    with pytest.raises(UserError, match="the optimizer lacks parameters of layer 0"):
        TinyLoop(optimizer=lambda p: torch.optim.SGD(list(p)[2:], lr=0.1))


def test_layer_rates_need_groups_by_layer_and_no_scheduler() -> None:
    with pytest.raises(UserError, match=r"group 0 does not hold .* one layer; .*parameter_groups"):
        TinyLoop("linear")

    def make(parameters: Any) -> torch.optim.Optimizer:
        own = list(parameters)
        groups = [{"params": own[:4]}, {"params": own[4:6]}, {"params": own[6:]}]
        return torch.optim.SGD(groups, lr=0.1)

    def schedule(parameters: Any) -> torch.optim.Optimizer:
        optimizer = make(parameters)
        torch.optim.lr_scheduler.StepLR(optimizer, 1)
        return optimizer

    with pytest.raises(UserError, match="remove the scheduler"):
        TinyLoop("linear", schedule)
    loop = TinyLoop("linear", make)
    loop.take_step(0)
    loop.optimizer.param_groups[1]["lr"] = 0.05
    with pytest.raises(UserError, match=r"rate of parameter group 1 is 0\.05"):
        loop.take_step(1)


def test_a_rate_that_is_no_number_is_refused() -> None:
    """Refuse lr = None, as Adafactor of transformers has it with relative_step = True.

    This optimizer computes its rate itself.
    """

    class Relative(torch.optim.SGD):
        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters, lr=0.1)
            self.param_groups[0]["lr"] = None

    with pytest.raises(UserError, match=r"Relative has the learning rate None .*relative_step"):
        TinyLoop(optimizer=Relative)


def test_gradients_cleared_too_early_are_refused() -> None:
    for to_none in (True, False):
        loop = TinyLoop()
        loop.model(torch.randn(4, 3, 8, 8)).sum().backward()
        loop.optimizer.step()
        loop.optimizer.zero_grad(set_to_none=to_none)
        with pytest.raises(UserError, match=r"before optimizer\.zero_grad"):
            loop.freezing.step()


def test_a_skipped_optimizer_step_is_accepted() -> None:
    """Skip an optimizer step, as a gradient scaler does if gradients overflow."""
    loop = TinyLoop()
    loop.model(torch.randn(4, 3, 8, 8)).sum().backward()
    loop.freezing.step()
    loop.optimizer.zero_grad()
    loop.freezing.step()
    assert loop.freezing.report().steps == 2


def test_a_skipped_step_has_the_learning_rate_of_the_step_before_also_after_a_resume() -> None:
    loop = TinyLoop()
    assert loop.optimizer.param_groups[0]["lr"] == 0.05
    loop.freezing.step()  # skipped
    assert loop.freezing.state_dict()["lr"] == 0.05
    loop.optimizer.param_groups[0]["lr"] = 0.02
    loop.take_step(1)
    loop.optimizer.param_groups[0]["lr"] = 0.01
    again = TinyLoop()
    again.freezing.load_state_dict(loop.freezing.state_dict())
    for each in (loop, again):
        each.freezing.step()  # skipped
        assert each.freezing.state_dict()["lr"] == 0.02


def test_an_optimizer_that_never_steps_is_reported() -> None:
    """Make another optimizer after Freezing. A scaler may skip 30 steps."""
    loop = TinyLoop(total_steps=40)
    loop.optimizer = torch.optim.SGD(loop.model.parameters(), lr=0.05)
    loop.train(0, 30)
    with pytest.raises(UserError, match=r"\(SGD\) has not stepped in the last 31 calls"):
        loop.take_step(30)


def test_an_overflow_spoils_only_the_intervals_around_it() -> None:
    """Let gradients overflow once.

    AutoFreeze compares the sums of gradients over two intervals. Later sums are finite again.
    """
    loop = TinyLoop("autofreeze", options={"M": 2, "N": 90.0, "unit": "layer"})
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-100)
    for step in range(STEPS):
        images, labels = make_batch(step)
        loop.optimizer.zero_grad()
        loss = 16 * nn.functional.cross_entropy(loop.model(images), labels)
        scaler.scale(loss).backward()
        scaler.step(loop.optimizer)
        scaler.update()
        loop.freezing.step()
    assert scaler.get_scale() == 2.0**27  # one overflow, in the first interval of two steps
    finite: dict[int, list[bool]] = {}
    for line in loop.freezing.decisions:
        finite.setdefault(line["step"], []).append(line["score"] is not None)
        assert line["step"] > 4 or not line["freeze"]
    assert not any(finite.pop(4)[:-1])
    assert finite
    assert all(all(scores[:-1]) for scores in finite.values())  # the head has no score
    assert loop.freezing.frozen


def test_parameter_groups_cover_the_model() -> None:
    from bench.api import Freezing

    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    groups = Freezing.parameter_groups(model, torch.zeros(2, 3))
    assert [group["name"] for group in groups] == ["0", "2"]
    held = [p for group in groups for p in group["params"]]
    assert {id(p) for p in held} == {id(p) for p in model.parameters()}


def test_the_largest_rate_of_one_cycle_is_the_base_rate() -> None:
    def prepare(parameters: Any) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(parameters, lr=0.01)
        torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=STEPS)
        return optimizer

    assert TinyLoop(optimizer=prepare).freezing._view.base_lr == pytest.approx(0.1)


def test_a_rate_above_the_base_rate_is_told_once() -> None:
    loop = TinyLoop(base_lr=0.01)
    with pytest.warns(UserWarning, match=r"0\.05 is larger than base_lr = 0\.01") as told:
        loop.train(0, 3)
    assert len(told) == 1


def test_a_layer_whose_weight_does_not_train_is_refused() -> None:
    model = build_tiny_net()
    next(model.parameters()).requires_grad_(False)  # its bias trains
    with pytest.raises(UserError, match="the weight of layer 0 does not train"):
        TinyLoop(model=model)
