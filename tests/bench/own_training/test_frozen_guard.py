"""Laws of frozen layers in a loop of one's own: nothing moves them, or an error says what did."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from bench.errors import UserError
from tests.support.small_training import find_differing
from tests.support.tiny_loop import TinyLoop


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
    """Trainers load the weights of the best step at the end."""
    loop = freeze_all_but_the_head()
    before = str(loop.freezing.report())
    loop.model.load_state_dict({k: v + 1 for k, v in loop.model.state_dict().items()})
    assert str(loop.freezing.report()) == before
    with pytest.raises(UserError, match=r"0\.weight: its values changed"):
        loop.take_step(3)


def test_weights_that_return_to_their_bits_are_fine() -> None:
    """An evaluation with averaged weights writes to frozen layers, and writes back."""
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
