"""Tests of freezing: frozen layers stay bit-identical; others train as in a plain loop."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from bench.errors import UserError
from bench.layers.discovery import find_layers
from bench.layers.freezing import Freezer
from tests.support.small_models import FAMILIES, make_labels
from tests.support.small_training import Training, find_differing, get_parameters, train_step

BY_NAME = {family.name: family for family in FAMILIES}
STEPS = 10


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=15)
@given(st.data())
def test_frozen_layers_stay_bit_identical_and_others_change(family, data):
    name = data.draw(st.sampled_from(["sgd", "sgd", "adamw"]))
    training = Training(family, name, by_layer=data.draw(st.booleans()))
    when = data.draw(st.dictionaries(st.integers(0, STEPS - 1), family.draw_masks(), max_size=3))
    then: dict[int, dict[str, torch.Tensor]] = {}
    for step in range(STEPS):
        for index in when.get(step, frozenset()) - training.freezer.frozen:
            then[index] = training.state(index)
        training.freezer.freeze(when.get(step, ()))
        held = get_parameters(training, training.freezer.frozen)
        assert all(parameter.grad is None for parameter in held)
        before = {layer.index: training.state(layer.index) for layer in training.layers}
        training.step(step)
        for layer in training.layers:
            moved = find_differing(before[layer.index], training.state(layer.index))
            assert bool(moved) == (layer.index not in training.freezer.frozen), layer.name
    assert training.freezer.frozen == then.keys()
    assert not any(find_differing(training.state(index), state) for index, state in then.items())
    for parameter in get_parameters(training, then):
        assert not parameter.requires_grad
        assert parameter.grad is None
        assert parameter not in training.optimizer.state
    active = set(range(len(training.layers))) - then.keys()
    assert all(
        parameter in training.optimizer.state for parameter in get_parameters(training, active)
    )


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=12)
@given(st.data())
def test_training_with_freezes_equals_plain_pytorch_loop_bit_for_bit(family, data):
    frozen = data.draw(family.draw_masks())
    at = data.draw(st.integers(0, 3))
    keep_dropout = data.draw(st.booleans())
    training = Training(family, keep_dropout=keep_dropout)
    by_hand = family.model()
    optimizer = torch.optim.SGD(
        by_hand.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01, fused=True
    )
    held = [name for index in frozen for name in training.layers[index].parameters]
    modules = {name for index in frozen for name in training.layers[index].modules}
    weightless = {name for index in frozen for name in training.layers[index].weightless}
    for step in range(5):
        if step == at:
            training.freezer.freeze(frozen)
        training.step(step)
        by_hand.train()
        if step >= at:
            for name in held:
                by_hand.get_parameter(name).requires_grad_(False)
                by_hand.get_parameter(name).grad = None
            for name in modules:
                if isinstance(by_hand.get_submodule(name), nn.BatchNorm2d):
                    by_hand.get_submodule(name).eval()
            if not keep_dropout:
                for name in weightless:
                    by_hand.get_submodule(name).eval()
                for module in by_hand.modules():
                    own = list(module.parameters())
                    if own and not any(p.requires_grad for p in own):
                        module.eval()
        train_step(by_hand, optimizer, family, step)
    assert not find_differing(training.model.state_dict(), by_hand.state_dict())


def train_bert(keep_dropout: bool, by_authors: bool) -> dict[str, torch.Tensor]:
    """Train a BERT whose embeddings and first block are frozen, and return its state_dict.

    keep_dropout: whether dropout stays on in frozen layers. by_authors: call eval() on the
    embeddings and the frozen block after model.train(), as AutoFreeze's authors do.
    """
    family = BY_NAME["transformers_bert"]
    training = Training(family, keep_dropout=keep_dropout)
    training.freezer.freeze(layer.index for layer in training.layers if layer.block == 0)
    for step in range(3):
        training.model.train()
        if by_authors:
            training.model.bert.embeddings.eval()
            training.model.bert.encoder.layer[0].eval()
        train_step(training.model, training.optimizer, family, step)
    return training.model.state_dict()


def test_dropout_is_off_in_frozen_blocks_unless_it_is_kept():
    off = train_bert(keep_dropout=False, by_authors=False)
    assert not find_differing(off, train_bert(keep_dropout=True, by_authors=True))
    kept = train_bert(keep_dropout=True, by_authors=False)
    assert "bert.encoder.layer.1.output.dense.weight" in find_differing(off, kept)


def test_modes_follow_freezing_and_thawing():
    training = Training(BY_NAME["transformers_bert"])
    model, start = training.model, {n: m.training for n, m in training.model.named_modules()}
    block = "bert.encoder.layer.0"
    training.freezer.freeze([3, 4])  # query and key of block 0
    model.train()
    attention = model.get_submodule(f"{block}.attention.self")
    assert attention.training  # its value projection trains
    training.freezer.freeze([5])
    model.train()
    assert not attention.training  # it passes its mode to the attention dropout
    assert model.get_submodule(block).training
    training.freezer.freeze(range(9))
    model.train()
    assert not any(m.training for m in model.get_submodule(block).modules())
    assert model.training
    assert model.dropout.training  # it precedes the head, which trains
    training.freezer.thaw(range(9))
    assert {n: m.training for n, m in model.named_modules()} == start


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=12)
@given(st.data())
def test_no_gradient_is_computed_in_the_frozen_prefix(family, data):
    training = Training(family)
    prefix = data.draw(st.integers(0, len(training.layers) - 1))
    more = data.draw(family.draw_masks())
    training.freezer.freeze(more | frozenset(range(prefix)))
    training.model.train()
    outputs: list[tuple[int, torch.Tensor]] = []
    reached: set[int] = set()
    for layer in training.layers:

        def watch(_: object, __: object, output: object, index: int = layer.index) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            assert isinstance(tensor, torch.Tensor)
            outputs.append((index, tensor))
            if tensor.requires_grad:
                tensor.register_hook(lambda _: reached.add(index))

        training.model.get_submodule(layer.name).register_forward_hook(watch)
    F.cross_entropy(training.model(*family.inputs(3)), make_labels(3)).backward()
    assert len(outputs) == len(training.layers)
    for index, output in outputs:
        if index < prefix:
            assert output.grad_fn is None
            assert not output.requires_grad
    frozen = training.freezer.frozen
    active = set(range(len(training.layers))) - frozen
    assert active <= reached
    assert all(index >= prefix for index in reached)
    for layer in training.layers:
        for name in layer.parameters:
            gradient = training.model.get_parameter(name).grad
            assert (gradient is None) == (layer.index in frozen)


@pytest.mark.parametrize("index", [-1, 5])
def test_freezing_a_layer_that_does_not_exist_raises(index):
    training = Training(BY_NAME["plain"])
    with pytest.raises(UserError, match=rf"layer {index} does not exist; .* layers 0 to 4"):
        training.freezer.freeze([index])
    assert not training.freezer.frozen


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_a_frozen_model_is_independent_and_follows_train(duplicate):
    """Check that the BatchNorm of a copy can be updated, as, for example, averaged weights need."""
    training = Training(BY_NAME["residual"])
    training.freezer.freeze(range(10))
    copied = duplicate(training.model)
    norm = copied.get_submodule("layer1.0.bn1")
    assert norm is not training.model.get_submodule("layer1.0.bn1")
    assert not norm.training
    assert not norm.weight.requires_grad
    assert copied.get_submodule("layer4.0.bn1").training
    assert copied.train().get_submodule("layer1.0.bn1").training
    assert not copied.eval().get_submodule("layer1.0.bn1").training
    assert not training.model.train().get_submodule("layer1.0.bn1").training
    training.freezer.thaw(range(10))
    training.step(0)
    assert norm.num_batches_tracked == 0
    assert training.model.get_submodule("layer1.0.bn1").num_batches_tracked == 1


def test_state_dict_of_frozen_model_loads_into_new_model():
    training = Training(BY_NAME["residual"])
    training.step(0)
    training.freezer.freeze(range(10))
    training.step(1)
    fresh = BY_NAME["residual"].model()
    fresh.load_state_dict(training.model.state_dict())
    assert not find_differing(fresh.state_dict(), training.model.state_dict())
    inputs = BY_NAME["residual"].inputs(2)
    assert torch.equal(fresh.eval()(*inputs), training.model.eval()(*inputs))


class TrackedInstanceNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.InstanceNorm2d(4, track_running_stats=True)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).mean((2, 3)))


def test_tracked_instance_norm_freezes():
    model, inputs = TrackedInstanceNorm(), (torch.randn(2, 3, 8, 8),)
    layers = find_layers(model, inputs)
    Freezer(model, torch.optim.SGD(model.parameters()), layers).freeze([0])
    model.train()(*inputs)
    assert torch.equal(model.norm.running_mean, torch.zeros(4))
