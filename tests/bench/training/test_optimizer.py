"""Parameter groups do not change training; a layer's learning rate affects only that layer."""

import math
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from bench.layers.freezing import Freezer
from bench.training.optimizer import (
    build_optimizer,
    compute_lr_factor,
    compute_warmup_factor,
    set_learning_rates,
)
from tests.support.small_models import FAMILIES, make_labels

BY_NAME = {family.name: family for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=5)
@given(st.data())
def test_one_group_per_layer_gives_the_same_bits_as_a_single_group(family, data):
    name = data.draw(st.sampled_from(["sgd", "adamw"]))
    frozen, at = data.draw(family.draw_masks()), data.draw(st.integers(0, 5))
    thawed = data.draw(family.draw_masks())
    ends = []
    for by_layer in (False, True):
        model = family.model()
        optimizer = build_optimizer(
            name, model, family.layers, lr=0.1, momentum=0.9, weight_decay=0.01, by_layer=by_layer
        )
        freezer = Freezer(model, optimizer, family.layers)
        for step in range(6):
            if step == at:
                freezer.freeze(frozen)
            if step == at + 1:
                freezer.thaw(thawed)
            torch.manual_seed(step)
            rate = 0.1 * compute_lr_factor(step, 6)
            set_learning_rates(optimizer, [rate] * (len(family.layers) if by_layer else 1))
            optimizer.zero_grad()
            F.cross_entropy(
                model(*family.inputs(3, seed=step)), make_labels(3, seed=step)
            ).backward()
            optimizer.step()
        ends.append(model.state_dict())
    assert [k for k in ends[0] if not torch.equal(ends[0][k], ends[1][k])] == []


@pytest.mark.parametrize("by_layer", [False, True])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_every_parameter_is_in_the_group_of_its_layer(family, by_layer):
    model = family.model()
    optimizer = build_optimizer(
        "sgd", model, family.layers, lr=0.1, momentum=0.9, weight_decay=0.0, by_layer=by_layer
    )
    grouped = [[id(p) for p in group["params"]] for group in optimizer.param_groups]
    expected = [[id(model.get_parameter(n)) for n in layer.parameters] for layer in family.layers]
    assert grouped == (expected if by_layer else [list(chain(*expected))])
    assert sorted(chain(*grouped)) == sorted(id(p) for p in model.parameters())


@given(st.integers(0, 4))
def test_a_learning_rate_affects_only_its_own_layer(index):
    family = BY_NAME["plain"]
    model = family.model()
    optimizer = build_optimizer(
        "sgd", model, family.layers, lr=0.1, momentum=0.9, weight_decay=0.01, by_layer=True
    )
    set_learning_rates(optimizer, [0.1 * (i == index) for i in range(5)])
    before = {k: v.clone() for k, v in model.state_dict().items()}
    F.cross_entropy(model(*family.inputs(3)), make_labels(3)).backward()
    optimizer.step()
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == set(family.layers[index].parameters)


def test_a_wrong_number_of_learning_rates_raises_an_error():
    family = BY_NAME["plain"]
    optimizer = build_optimizer(
        "sgd", family.model(), family.layers, lr=0.1, momentum=0.9, weight_decay=0, by_layer=True
    )
    for rates in ([0.1] * 4, [0.1] * 6):
        with pytest.raises(ValueError, match="zip"):
            set_learning_rates(optimizer, rates)


@given(st.integers(1, 500), st.floats(0, 0.9))
def test_the_schedule_rises_once_and_falls_to_zero(total, warmup):
    factors = [compute_lr_factor(step, total, warmup) for step in range(total)]
    assert all(0 < factor <= 1 for factor in factors)
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert abs(peak - warmup * total) <= 1
    assert compute_lr_factor(total, total, warmup) == pytest.approx(0, abs=1e-12)


@given(st.integers(1, 100), st.integers(0, 100))
def test_the_schedule_without_warmup_is_a_cosine(total, step):
    step = min(step, total)
    assert compute_lr_factor(step, total) == 0.5 * (1 + math.cos(math.pi * step / total))


@given(st.integers(1, 500), st.floats(0, 0.9))
def test_the_warmup_factor_rises_as_the_schedule_and_then_stays_at_one(total, warmup):
    factors = [compute_warmup_factor(step, total, warmup) for step in range(total)]
    for step, factor in enumerate(factors):
        assert factor == (compute_lr_factor(step, total, warmup) if step < warmup * total else 1.0)
    assert compute_warmup_factor(0, total, 0.0) == 1.0


@pytest.mark.parametrize("nesterov", [False, True])
def test_nesterov_steps_along_the_gradient_and_the_next_momentum(nesterov):
    family = BY_NAME["plain"]
    model = family.model()
    optimizer = build_optimizer(
        "sgd", model, family.layers, lr=0.1, momentum=0.9, weight_decay=0.0, by_layer=False,
        nesterov=nesterov,
    )  # fmt: skip
    weight = model.get_parameter(family.layers[0].parameters[0])
    momentum = torch.zeros_like(weight)
    for step in range(3):
        before = weight.detach().clone()
        optimizer.zero_grad()
        F.cross_entropy(model(*family.inputs(3, seed=step)), make_labels(3, seed=step)).backward()
        momentum = 0.9 * momentum + weight.grad
        change = weight.grad + 0.9 * momentum if nesterov else momentum
        optimizer.step()
        torch.testing.assert_close(weight.detach(), before - 0.1 * change)
