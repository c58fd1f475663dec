"""Tests of the modes of modules: eval mode while a module is frozen, then the user's mode again."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from bench.layers.modes import copy_in_train_mode, hold_in_eval, in_eval_mode, release_mode


class Storing(nn.Module):
    """Layer that stores its weight in eval mode, and deletes the stored one in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.stored: torch.Tensor | None = None

    def train(self, mode: bool = True) -> nn.Module:
        if mode:
            self.stored = None
        return super().train(mode)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training:
            return inputs * self.weight
        self.stored = self.weight.detach().clone() if self.stored is None else self.stored
        return inputs * self.stored


class FixedNorm(nn.Module):
    """Model that keeps its BatchNorm in eval mode, as many fine-tuning recipes do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())

    def train(self, mode: bool = True) -> nn.Module:
        super().train(mode)
        self.body[1].eval()
        return self


@pytest.mark.parametrize("trained_again", [False, True])
def test_a_released_module_has_the_mode_that_its_user_gave_it(trained_again: bool) -> None:
    model = FixedNorm().train()
    modules = [model.body, *model.body]
    for module in modules:
        hold_in_eval(module)
    if trained_again:
        model.eval()
        model.train()
    assert not any(module.training for module in modules)
    for module in modules:
        release_mode(module)
    assert [module.training for module in modules] == [True, True, False, True]


def test_a_released_module_follows_the_model() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    hold_in_eval(model[1])
    model.eval()
    release_mode(model[1])
    assert not model[1].training
    model.train()
    assert model[1].training


def test_an_evaluation_leaves_no_stored_weight_and_no_mode_behind() -> None:
    model = nn.Sequential(Storing(), nn.BatchNorm1d(2), nn.Dropout())
    hold_in_eval(model[1])
    model[2].eval()
    with in_eval_mode(model):
        assert not any(module.training for module in model.modules())
        model(torch.ones(2, 2))
    assert [module.training for module in model] == [True, False, False]
    with torch.no_grad():
        model[0].weight.mul_(3)
    release_mode(model[1])
    assert model[1].training
    assert torch.equal(model[0].eval()(torch.ones(2)), torch.full((2,), 3.0))


def test_an_error_inside_an_evaluation_restores_the_modes() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ZeroDivisionError), in_eval_mode(model):
        raise ZeroDivisionError
    assert model[0].training


def test_only_a_copy_in_train_mode_keeps_held_modules_in_eval_mode() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    hold_in_eval(model[1])
    assert [module.training for module in copy_in_train_mode(model)] == [True, False]
    assert [module.training for module in copy.deepcopy(model).train()] == [True, True]


def test_a_saved_model_loads_without_this_package() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    hold_in_eval(model[1])
    content = pickle.dumps(model)
    assert b"bench" not in content
    assert pickle.loads(content).train()[1].training
