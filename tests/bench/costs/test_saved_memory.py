"""Tests of saved-memory prediction: it equals the measured bytes for any frozen layers."""

import gc
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from bench.costs.saved_memory import SavedBytes, SavedModel, count_state_bytes, predict_saved_bytes
from bench.errors import UserError
from bench.layers.discovery import find_layers
from bench.layers.freezing import Freezer
from bench.training.optimizer import build_optimizer
from tests.support.small_models import FAMILIES, Family, make_labels

BY_NAME = {family.name: family for family in FAMILIES}


def loss_of(logits: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, make_labels(len(logits)))


@cache
def prediction(family: Family) -> SavedModel:
    return predict_saved_bytes(family.model(), family.layers, family.inputs(1), loss_of)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=60)
@given(st.data())
def test_measured_bytes_equal_prediction(family, data):
    frozen, samples = data.draw(family.draw_masks()), data.draw(st.integers(2, 6))
    model = family.model()
    optimizer = torch.optim.SGD(model.parameters())
    Freezer(model, optimizer, family.layers, keep_dropout=True).freeze(frozen)
    with SavedBytes(model.train()) as saved:
        loss = loss_of(model(*family.inputs(samples)))
    loss.backward()
    assert saved.bytes == prediction(family).count_bytes(frozen, samples)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=20)
@given(st.data())
def test_freezing_more_layers_never_adds_saved_bytes(family, data):
    few, more = data.draw(family.draw_masks()), data.draw(family.draw_masks())
    predicted = prediction(family)
    assert predicted.count_bytes(few | more, 4) <= predicted.count_bytes(few, 4)
    body = range(len(family.layers) - 1)
    assert predicted.count_bytes(body, 4) < predicted.count_bytes((), 4) / 2
    assert predicted.count_bytes(range(len(family.layers)), 4) == 0


def test_saved_bytes_of_a_worked_example():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 5))
    inputs = (torch.randn(7, 4),)
    layers = find_layers(model, inputs)
    predicted = predict_saved_bytes(model, layers, inputs)
    images, hidden = 7 * 4 * 4, 7 * 3 * 4  # both ReLU and the second weight need `hidden`
    for frozen, expected in {(): images + hidden, (0,): hidden, (1,): images + hidden}.items():
        Freezer(model, torch.optim.SGD(model.parameters()), layers).freeze(frozen)
        with SavedBytes(model) as saved:
            output = model(*inputs)
        assert output.requires_grad
        assert saved.bytes == predicted.count_bytes(frozen, 7) == expected
        model.requires_grad_(True)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_measuring_leaves_loss_and_gradients_bit_identical(family):
    gradients = []
    for measured in (False, True):
        model = family.model()
        torch.manual_seed(1)
        if measured:
            with SavedBytes(model):
                loss = loss_of(model(*family.inputs(3)))
        else:
            loss = loss_of(model(*family.inputs(3)))
        loss.backward()
        gradients.append([loss, *(p.grad for p in model.parameters()), *model.buffers()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_measuring_keeps_no_tensor_alive(family):
    model = family.model()
    gc.collect()
    gc.disable()  # a reference cycle would keep the tensors alive
    try:
        with SavedBytes(model) as saved:
            loss = loss_of(model(*family.inputs(3)))
            held = list(saved._saved)
        assert any(reference() is not None for reference in held)
        del loss
        assert all(reference() is None for reference in held)
    finally:
        gc.enable()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_predicting_does_not_change_model_or_random_state(family):
    model = family.model()
    Freezer(model, torch.optim.SGD(model.parameters()), family.layers).freeze([0, 1])
    before = {k: v.clone() for k, v in model.state_dict().items()}
    trains = [p.requires_grad for p in model.parameters()]
    stream = torch.random.get_rng_state()
    predicted = predict_saved_bytes(model.eval(), family.layers, family.inputs(1), loss_of)
    assert predicted == prediction(family)  # layers that are already frozen make no difference
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert trains == [p.requires_grad for p in model.parameters()]
    assert not any(module.training for module in model.modules())
    assert torch.equal(stream, torch.random.get_rng_state())


class Unused(nn.Module):
    """Model with an unused output, a replaced buffer and in-place dropout on a view."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.aside, self.head = nn.Linear(4, 4), nn.Linear(4, 64), nn.Linear(4, 5)
        self.dropout = nn.Dropout(0.5, inplace=True)
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x):
        self.seen = torch.full((16,), 0.5)
        x = self.body(x)
        self.aside(x).exp()
        return self.head(self.dropout((x * self.seen[:4]).unflatten(1, (2, 2)).flatten(1)))


@settings(max_examples=10)
@given(st.frozensets(st.integers(0, 1)), st.integers(1, 5))
def test_only_storages_held_by_the_final_graph_count(frozen, samples):
    model = Unused()
    inputs = (torch.randn(samples, 2, 2).flatten(1),)
    layers = find_layers(model, inputs)
    predicted = predict_saved_bytes(model, layers, inputs)
    optimizer = torch.optim.SGD(model.parameters())
    Freezer(model, optimizer, layers, keep_dropout=True).freeze(frozen)
    with SavedBytes(model.train()) as saved:
        output = model(*inputs)
    assert output.requires_grad
    assert saved.bytes == predicted.count_bytes(frozen, samples)


class InPlaceOnView(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 5)

    def forward(self, x):
        x = self.body(x)
        x[:, :2].mul_(torch.rand(len(x), 2))
        return self.head(x)


def test_saved_tensors_missing_from_the_graph_raise():
    model, inputs = InPlaceOnView(), (torch.randn(2, 4),)
    with pytest.raises(UserError, match=r"autograd saved [\d,]+ bytes, but its graph shows"):
        predict_saved_bytes(model, find_layers(model, inputs), inputs)


def test_hooks_are_removed_after_an_error():
    model = nn.Linear(4, 5)
    with pytest.raises(ZeroDivisionError), SavedBytes(model) as saved:
        raise ZeroDivisionError
    output = model(torch.randn(2, 4))
    assert output.requires_grad
    assert saved.bytes == 0
    assert not saved._saved


@pytest.mark.parametrize(("name", "copies", "more"), [("sgd", 3, 0), ("adamw", 4, 4)])
def test_state_bytes_of_a_worked_example(name, copies, more):
    """Count weights, gradients and optimizer state.

    AdamW adds a step counter per parameter.
    """
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 5, bias=False))
    inputs = (torch.randn(2, 4),)
    layers = find_layers(model, inputs)
    optimizer = build_optimizer(
        name, model, layers, lr=0.1, momentum=0.9, weight_decay=0.0, by_layer=False
    )
    first, head = 4 * (4 * 3 + 3), 4 * (3 * 5)
    assert count_state_bytes(model, optimizer) == first + head
    model(*inputs).sum().backward()
    assert count_state_bytes(model, optimizer) == 2 * (first + head)
    optimizer.step()
    assert count_state_bytes(model, optimizer) == copies * (first + head) + 3 * more
    Freezer(model, optimizer, layers).freeze([0])
    assert count_state_bytes(model, optimizer) == first + copies * head + more
