"""Tests of frozen layers in a user's loop: they do not change, or an error names the cause."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from bench.api import Freezing
from bench.errors import UserError
from strategies.base import Decision, View
from tests.support.small_training import find_differing
from tests.support.tiny_loop import Scripted, TinyLoop, make_batch
from tests.support.tiny_view import build_tiny_net


def freeze_all_but_the_head() -> TinyLoop:
    return TinyLoop(options={"script": "2+01"}).train(0, 3)


def test_batch_norm_of_frozen_layers_keeps_its_statistics_in_train_mode() -> None:
    loop = freeze_all_but_the_head()
    before = loop.copy_layer(0)
    assert "1.running_mean" in before
    loop.model.train()
    for _ in range(3):
        loop.model(torch.randn(4, 3, 8, 8))
    assert not find_differing(loop.copy_layer(0), before)


def test_foreign_changes_of_frozen_layers_are_reported() -> None:
    def write(model: nn.Module) -> None:
        with torch.no_grad():
            model.get_parameter("0.weight").add_(0.1)

    def write_buffer(model: nn.Module) -> None:
        model.get_buffer("1.running_mean").add_(0.1)

    def thaw(model: nn.Module) -> None:
        model.requires_grad_(True)

    messages = {write: "0.weight: its values", write_buffer: "1.running_mean", thaw: "set to True"}
    for act, message in messages.items():
        loop = freeze_all_but_the_head()
        act(loop.model)
        with pytest.raises(UserError, match=message):
            loop.take_step(3)


def test_writes_through_data_are_found_by_the_report() -> None:
    loop = freeze_all_but_the_head()
    loop.freezing.report()
    loop.model.get_parameter("3.weight").data.add_(0.1)
    with pytest.raises(UserError, match=r"layer 3 is frozen, but .*3\.weight: its values"):
        loop.freezing.report()


def test_the_report_remains_if_other_weights_are_loaded_after_the_last_step() -> None:
    """Load other weights at the end, as trainers do with those of the best step."""
    loop = freeze_all_but_the_head()
    before = str(loop.freezing.report())
    loop.model.load_state_dict({k: v + 1 for k, v in loop.model.state_dict().items()})
    assert str(loop.freezing.report()) == before
    with pytest.raises(UserError, match=r"0\.weight: its values changed"):
        loop.take_step(3)


def test_weights_that_return_to_their_bits_are_fine() -> None:
    """Write to frozen layers and write back, as an evaluation with averaged weights does."""
    loop = freeze_all_but_the_head()
    own = copy.deepcopy(loop.model.state_dict())
    loop.model.load_state_dict({name: torch.zeros_like(value) for name, value in own.items()})
    loop.model.load_state_dict(own)
    loop.train(3)
    assert loop.freezing.frozen == {0, 1}


def test_release_gives_the_model_back() -> None:
    loop = freeze_all_but_the_head().train(3)
    loop.freezing.release()
    assert all(p.requires_grad for p in loop.model.parameters())
    loop.model.train()
    before = loop.copy_layer(0)
    loop.model(torch.randn(4, 3, 8, 8))
    assert "1.running_mean" in find_differing(loop.copy_layer(0), before)
    assert loop.freezing.report().layers[0].frozen_steps == 10


def test_freezing_leaves_model_and_random_numbers_alone_before_the_first_step() -> None:
    model = TinyLoop(options={"script": "5+0"}).model
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(3)
    TinyLoop(options={"script": "5+0"}, model=model)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert drawn == torch.rand(1)
    assert not find_differing(model.state_dict(), before)
    assert model.training
    assert all(module.training for module in model.modules())


def test_a_model_that_is_compiled_afterwards_freezes_and_thaws() -> None:
    plain = TinyLoop(options={"script": "2+01 5-0"}).train(0, 8)
    loop = TinyLoop(options={"script": "2+01 5-0"})
    network = loop.model
    # The backend does not matter: torch.compile must notice each change of requires_grad and mode.
    # torch declares the result as a callable, but it is a module.
    loop.model = torch.compile(network, backend="eager")  # type: ignore[assignment]
    loop.train(0, 8)
    assert not find_differing(plain.model.state_dict(), network.state_dict())


def test_replaced_and_reordered_tensors_of_frozen_layers_are_reported() -> None:
    def assign(model: nn.Module) -> None:
        model.load_state_dict({k: v + 1 for k, v in model.state_dict().items()}, assign=True)

    def replace_module(model: nn.Module) -> None:
        model._modules["0"] = copy.deepcopy(model.get_submodule("0"))

    def replace_buffer(model: nn.Module) -> None:
        norm = model.get_submodule("1")
        norm.running_mean = 0.9 * norm.get_buffer("running_mean") + 1

    def reorder(model: nn.Module) -> None:
        weight = model.get_parameter("0.weight")
        with torch.no_grad():
            weight.copy_(weight.flip(0))

    messages = {
        assign: "0.weight: the tensor was replaced",
        replace_module: "touched its 0: the module was replaced",
        replace_buffer: "1.running_mean: its values changed",
        reorder: "0.weight: its values changed",
    }
    for act, message in messages.items():
        loop = freeze_all_but_the_head()
        act(loop.model)
        with pytest.raises(UserError, match=message):
            loop.take_step(3)


def test_a_buffer_may_move_to_a_new_tensor_which_is_then_watched() -> None:
    loop = freeze_all_but_the_head()
    norm = loop.model.get_submodule("1")
    norm.running_mean = norm.get_buffer("running_mean").clone()
    loop.train(3, 5)
    norm.get_buffer("running_mean").add_(1)
    with pytest.raises(UserError, match=r"1\.running_mean: its values changed"):
        loop.take_step(5)


def test_a_layer_that_the_user_freezes_is_reported() -> None:
    loop = TinyLoop().train(0, 3)
    name = loop.freezing.layers[-1].parameters[0]
    loop.model.get_parameter(name).requires_grad_(False)
    loop.optimizer.zero_grad()
    with pytest.raises(UserError, match=rf"should train, but requires_grad of {name} is False"):
        loop.freezing.step(torch.tensor(1.0))


class CountsSteps(nn.Module):
    """Container with a counter, and with a parameter that belongs to the first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("seen", torch.zeros(1))
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 8)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.get_buffer("seen").add_(1)
        return self.second(self.first(inputs).relu() * self.scale).relu()


def test_a_container_of_training_layers_may_change_its_buffers() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 6), CountsSteps(), nn.Linear(8, 5))
    loop = TinyLoop(model=model, options={"script": "2+01"}).train()
    assert [loop.freezing.layers[i].name for i in loop.freezing.frozen] == ["1", "2.first"]
    assert model[2].get_buffer("seen").item() == 12


def test_averaged_weights_may_be_written_through_data_after_the_last_step() -> None:
    loop = freeze_all_but_the_head().train(3)
    before = str(loop.freezing.report())
    for parameter in loop.model.parameters():
        parameter.data.mul_(0.5)
    assert str(loop.freezing.report()) == before
    loop = freeze_all_but_the_head().train(3, 11)
    loop.model.get_parameter("0.weight").data.mul_(0.5)
    with pytest.raises(UserError, match=r"0\.weight: its values changed"):
        loop.take_step(11)


def test_a_model_whose_freezing_is_lost_trains_again() -> None:
    model = freeze_all_but_the_head().model
    model.requires_grad_(True)
    loop = TinyLoop("full", model=model)
    before = model.get_buffer("1.running_mean").clone()
    loop.train(0, 1)
    assert not torch.equal(before, model.get_buffer("1.running_mean"))


def test_a_constructor_that_fails_leaves_the_model_unfrozen() -> None:
    class Failing(Scripted):
        def decide(self, view: View) -> Sequence[Decision]:
            if view.step == 0:
                return [Decision(0, freeze=True)]
            return []

        def learning_rates(self, view: View) -> Sequence[float]:
            raise ZeroDivisionError

        sets_learning_rates = True

    model = build_tiny_net()
    groups = Freezing.parameter_groups(model, make_batch(0)[0])
    with pytest.raises(ZeroDivisionError):
        TinyLoop(Failing(script="0+0"), lambda _: torch.optim.SGD(groups, lr=0.1), model)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert all(module.training for module in model.train().modules())
