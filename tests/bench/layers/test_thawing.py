"""Tests of thawing: thawed layers train again, and nothing else changes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.layers.discovery import find_layers
from bench.layers.freezing import Freezer
from tests.support.small_models import FAMILIES
from tests.support.small_training import Training, find_differing, get_parameters

BY_NAME = {family.name: family for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=12)
@given(st.data())
def test_thawed_layers_and_their_batch_norms_train_again(family, data):
    training = Training(family, by_layer=data.draw(st.booleans()))
    frozen, thawed = data.draw(family.draw_masks()), data.draw(family.draw_masks())
    first, second = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))
    for step in range(first):
        training.step(step)
    training.freezer.freeze(frozen)
    for step in range(second):
        training.step(step)
    still = {index: training.state(index) for index in frozen - thawed}
    training.freezer.thaw(thawed)
    assert training.freezer.frozen == frozen - thawed
    for step in range(3):
        before = {index: training.state(index) for index in frozen & thawed}
        training.step(step)
        for index, state in before.items():
            now = training.state(index)
            assert all(not torch.equal(now[p], state[p]) for p in now if p.endswith("weight"))
            assert all(not torch.equal(now[b], state[b]) for b in now if "running" in b)
            assert all(now[b] == state[b] + 1 for b in now if "batches_tracked" in b)
    assert not any(find_differing(training.state(index), state) for index, state in still.items())


def test_momentum_starts_at_zero_after_a_thaw():
    one = Training(BY_NAME["plain"])
    for step in range(3):
        one.step(step)
    one.freezer.freeze([1])
    one.step(3)
    one.freezer.thaw([1])
    weight = one.model.get_parameter(one.layers[1].parameters[0])
    before = weight.detach().clone()
    one.step(4)
    assert weight.grad is not None
    expected = before - 0.05 * (weight.grad + 0.01 * before)
    torch.testing.assert_close(weight.detach(), expected)


@pytest.mark.parametrize("by_layer", [False, True])
def test_freeze_and_thaw_before_the_first_step_change_nothing(by_layer):
    one, other = (Training(BY_NAME["plain"], by_layer=by_layer) for _ in range(2))
    one.freezer.freeze([0, 1])
    one.freezer.thaw([0, 1])
    for step in range(2):
        one.step(step)
        other.step(step)
    assert not find_differing(one.model.state_dict(), other.model.state_dict())


@settings(max_examples=20)
@given(st.data(), st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 19))), max_size=8))
def test_freezing_and_thawing_are_set_operations(data, calls):
    training = Training(BY_NAME["residual"])
    frozen: set[int] = set()
    for freeze, layers in calls:
        if freeze:
            training.freezer.freeze(layers)
            frozen |= layers
        else:
            training.freezer.thaw(layers)
            frozen -= layers
        assert training.freezer.frozen == frozen
        if data.draw(st.booleans()):  # holds with and without a call of train()
            training.model.train()
        for layer in training.layers:
            modules = [training.model.get_submodule(name) for name in layer.modules]
            norms = [m for m in modules if isinstance(m, nn.BatchNorm2d)]
            assert all(norm.training == (layer.index not in frozen) for norm in norms)
            trains = [p.requires_grad for p in get_parameters(training, [layer.index])]
            assert trains == [layer.index not in frozen] * len(trains)


def test_thawing_an_unfrozen_layer_changes_nothing():
    one, other = Training(BY_NAME["residual"]), Training(BY_NAME["residual"])
    for step in range(4):
        one.freezer.thaw(range(20))
        one.step(step)
        other.step(step)
    assert not find_differing(one.model.state_dict(), other.model.state_dict())


def test_thaw_in_eval_mode_keeps_eval_mode():
    training = Training(BY_NAME["residual"])
    training.freezer.freeze(range(10))
    training.model.eval()
    training.freezer.thaw(range(5))
    assert not any(module.training for module in training.model.modules())


class StoredBias(nn.Linear):
    """Layer that stores a value in eval mode and deletes it in `train`, like LeViT's attention."""

    stored = None

    def forward(self, x):
        if self.training:
            self.stored = None
            return x @ (2 * self.weight).T
        if self.stored is None:
            self.stored = (2 * self.weight).detach()
        return x @ self.stored.T

    def train(self, mode=True):
        if mode:
            self.stored = None
        return super().train(mode)


def test_a_thawed_layer_forgets_what_it_stored_in_eval_mode():
    model = nn.Sequential(StoredBias(4, 4), nn.Linear(4, 2))
    inputs = torch.randn(3, 4)
    layers = find_layers(model, (inputs,))
    freezer = Freezer(model, torch.optim.SGD(model.parameters()), layers)
    freezer.freeze([0])
    model(inputs)
    freezer.thaw([0])
    assert model[0].training
    with torch.no_grad():
        model[0].weight += 1
    freezer.freeze([0])
    assert not model[0].training
    expected = model[1](inputs @ (2 * model[0].weight).T)
    assert torch.equal(model(inputs), expected)


def test_fixed_parameter_stays_fixed_after_a_thaw():
    model = BY_NAME["vit"].model()
    model.get_parameter("pos_embed").requires_grad_(False)
    freezer = Freezer(model, torch.optim.SGD(model.parameters()), BY_NAME["vit"].layers)
    freezer.freeze([0])
    freezer.thaw([0])
    assert not model.get_parameter("pos_embed").requires_grad
    assert model.get_parameter("cls_token").requires_grad
