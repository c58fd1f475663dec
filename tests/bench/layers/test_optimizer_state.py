"""Tests of the optimizer state of frozen layers, which is kept until a thaw or deleted."""

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.costs.saved_memory import count_state_bytes
from tests.support.small_models import FAMILIES
from tests.support.small_training import Training, find_differing, get_parameters, train_step

OPTIMIZERS = ["sgd", "adamw"]
BY_NAME = {family.name: family for family in FAMILIES}


def copy_optimizer_state(training: Training, layer: int) -> list[dict[str, Any]]:
    """Return copies of the optimizer state of each parameter of a layer; {} without a state."""
    return [
        copy.deepcopy(dict(training.optimizer.state.get(p, {})))
        for p in get_parameters(training, [layer])
    ]


def is_same_state(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    return all(not find_differing(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("keep", [False, True])
@settings(max_examples=6, deadline=None)
@given(st.data())
def test_frozen_layers_and_their_kept_state_never_move(family, name, keep, data):
    training = Training(family, name, keep_state=keep)
    for step in range(6):
        wanted = data.draw(family.draw_masks())
        thawed = training.freezer.frozen - wanted
        before = {i: copy_optimizer_state(training, i) for i in range(len(training.layers))}
        training.freezer.freeze(wanted)
        training.freezer.thaw(thawed)
        states = {i: copy_optimizer_state(training, i) for i in wanted}
        weights = {i: training.state(i) for i in wanted}
        for i in range(len(training.layers)):
            if keep and any(before[i]):
                assert is_same_state(copy_optimizer_state(training, i), before[i])
            elif not keep and i in wanted:
                assert not any(states[i])
        training.step(step)
        for i in wanted:
            assert not find_differing(training.state(i), weights[i])
            assert is_same_state(copy_optimizer_state(training, i), states[i])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_kept_state_trains_as_plain_pytorch_without_gradients(name):
    """Compare with plain PyTorch, which keeps the state of a parameter that has no gradient."""
    family = BY_NAME["plain"]
    training, plain = Training(family, name, keep_state=True), Training(family, name)
    for step, frozen in enumerate([set(), {0, 1}, {1}, {2, 3}, {0}, set()]):
        training.freezer.freeze(frozen)
        training.freezer.thaw(training.freezer.frozen - frozen)
        training.step(step)
        held = {n for i in frozen for n in plain.layers[i].parameters}
        for n, parameter in plain.model.named_parameters():
            parameter.requires_grad_(n not in held)
        plain.model.train()
        train_step(plain.model, plain.optimizer, family, step)
    assert not find_differing(training.model.state_dict(), plain.model.state_dict())


def test_dropped_moments_start_at_zero_and_kept_ones_go_on_after_a_thaw():
    for keep in (False, True):
        training = Training(BY_NAME["plain"], "adamw", keep_state=keep)
        weight: nn.Parameter = get_parameters(training, [1])[0]
        for step in range(3):
            training.step(step)
        moment = training.optimizer.state[weight]["exp_avg"].clone()
        training.freezer.freeze([1])
        training.step(3)
        training.freezer.thaw([1])
        training.step(4)
        assert weight.grad is not None
        state = training.optimizer.state[weight]
        expected = (moment if keep else torch.zeros_like(moment)).lerp(weight.grad, 0.1)
        torch.testing.assert_close(state["exp_avg"], expected)
        assert state["step"] == (4 if keep else 1)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_bytes_count_kept_state(name):
    sizes = {}
    for keep in (False, True):
        training = Training(BY_NAME["plain"], name, keep_state=keep)
        training.step(0)
        training.freezer.freeze([1])
        training.step(1)
        sizes[keep] = count_state_bytes(training.model, training.optimizer)
    parameters = get_parameters(training, [1])
    moments = 1 if name == "sgd" else 2
    kept = sum(p.numel() * p.element_size() * moments for p in parameters)
    counters = 0 if name == "sgd" else 4 * len(parameters)  # AdamW counts steps as float32
    assert sizes[True] - sizes[False] == kept + counters
