"""Laws: what is frozen does not move by a bit; what is not trains as if written by hand."""

import copy
import pickle
from collections.abc import Iterable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import FAMILIES, Family, labels
from torch import nn
from torch.nn import functional as F

from bench.errors import UserError
from bench.freezing import Freezer
from bench.layers import Layer, find_layers
from bench.optimizer import build_optimizer

BY_NAME = {family.name: family for family in FAMILIES}
STEPS = 10


class Training:
    """A model of a family with its optimizer and freezer, stepped on batches drawn by number."""

    def __init__(self, family: Family, name: str = "sgd", by_layer: bool = False) -> None:
        self.family, self.layers = family, family.layers
        self.model = family.model()
        self.optimizer = build_optimizer(
            name, self.model, self.layers, lr=0.05, momentum=0.9, weight_decay=0.01,
            by_layer=by_layer,
        )  # fmt: skip
        self.freezer = Freezer(self.model, self.optimizer, self.layers)

    def step(self, number: int) -> None:
        self.model.train()  # as every training loop does after an evaluation
        train_step(self.model, self.optimizer, self.family, number)

    def state(self, layer: int) -> dict[str, torch.Tensor]:
        """Copies of a layer's parameters and buffers."""
        return state_of(self.model, self.layers[layer])


def train_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, family: Family, number: int
) -> None:
    torch.manual_seed(number)  # dropout
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(model(*family.inputs(3, seed=number)), labels(3, seed=number)).backward()
    optimizer.step()


def state_of(model: nn.Module, layer: Layer) -> dict[str, torch.Tensor]:
    buffers = [
        f"{module}.{name}".removeprefix(".")
        for module in layer.modules
        for name, _ in model.get_submodule(module).named_buffers(recurse=False)
    ]
    state = dict(model.state_dict(keep_vars=True))
    return {name: state[name].detach().clone() for name in (*layer.parameters, *buffers)}


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    """Names of the tensors that are not the same in both, bit for bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def parameters(training: Training, indices: Iterable[int]) -> list[nn.Parameter]:
    return [
        training.model.get_parameter(name)
        for index in indices
        for name in training.layers[index].parameters
    ]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=8)
@given(st.data())
def test_frozen_layers_do_not_move_by_a_bit_and_the_others_do(family, data):
    name = data.draw(st.sampled_from(["sgd", "sgd", "adamw"]))
    training = Training(family, name, by_layer=data.draw(st.booleans()))
    when = data.draw(st.dictionaries(st.integers(0, STEPS - 1), family.masks(), max_size=3))
    then: dict[int, dict[str, torch.Tensor]] = {}
    for step in range(STEPS):
        for index in when.get(step, frozenset()) - training.freezer.frozen:
            then[index] = training.state(index)
        training.freezer.freeze(when.get(step, ()))
        held = parameters(training, training.freezer.frozen)
        assert all(parameter.grad is None for parameter in held)
        before = {layer.index: training.state(layer.index) for layer in training.layers}
        training.step(step)
        for layer in training.layers:
            moved = differing(before[layer.index], training.state(layer.index))
            assert bool(moved) == (layer.index not in training.freezer.frozen), layer.name
    assert training.freezer.frozen == then.keys()
    assert not any(differing(training.state(index), state) for index, state in then.items())
    for parameter in parameters(training, then):
        assert not parameter.requires_grad
        assert parameter.grad is None
        assert parameter not in training.optimizer.state
    active = set(range(len(training.layers))) - then.keys()
    assert all(parameter in training.optimizer.state for parameter in parameters(training, active))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=6)
@given(st.data())
def test_training_with_freezes_is_a_loop_written_by_hand_bit_for_bit(family, data):
    frozen = data.draw(family.masks())
    at = data.draw(st.integers(0, 3))
    training = Training(family)
    by_hand = family.model()
    optimizer = torch.optim.SGD(
        by_hand.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01, fused=True
    )
    held = [name for index in frozen for name in training.layers[index].parameters]
    modules = {name for index in frozen for name in training.layers[index].modules}
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
        train_step(by_hand, optimizer, family, step)
    assert not differing(training.model.state_dict(), by_hand.state_dict())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=6)
@given(st.data())
def test_no_gradient_is_computed_before_the_end_of_the_prefix(family, data):
    training = Training(family)
    prefix = data.draw(st.integers(0, len(training.layers) - 1))
    more = data.draw(family.masks())
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
    F.cross_entropy(training.model(*family.inputs(3)), labels(3)).backward()
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


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=6)
@given(st.data())
def test_thawed_layers_train_again_and_their_batch_norms_count_again(family, data):
    training = Training(family, by_layer=data.draw(st.booleans()))
    frozen, thawed = data.draw(family.masks()), data.draw(family.masks())
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
    assert not any(differing(training.state(index), state) for index, state in still.items())


def test_momentum_starts_anew_after_a_thaw():
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
def test_a_thaw_before_the_first_step_is_as_if_nothing_had_been(by_layer):
    one, other = (Training(BY_NAME["plain"], by_layer=by_layer) for _ in range(2))
    one.freezer.freeze([0, 1])
    one.freezer.thaw([0, 1])
    for step in range(2):
        one.step(step)
        other.step(step)
    assert not differing(one.model.state_dict(), other.model.state_dict())


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
        if data.draw(st.booleans()):  # it holds at once, and whatever is called on the model
            training.model.train()
        for layer in training.layers:
            modules = [training.model.get_submodule(name) for name in layer.modules]
            norms = [m for m in modules if isinstance(m, nn.BatchNorm2d)]
            assert all(norm.training == (layer.index not in frozen) for norm in norms)
            trains = [p.requires_grad for p in parameters(training, [layer.index])]
            assert trains == [layer.index not in frozen] * len(trains)


def test_a_thaw_of_a_layer_that_trains_changes_nothing():
    one, other = Training(BY_NAME["residual"]), Training(BY_NAME["residual"])
    for step in range(4):
        one.freezer.thaw(range(20))
        one.step(step)
        other.step(step)
    assert not differing(one.model.state_dict(), other.model.state_dict())


def test_a_thaw_in_evaluation_leaves_the_model_in_evaluation():
    training = Training(BY_NAME["residual"])
    training.freezer.freeze(range(10))
    training.model.eval()
    training.freezer.thaw(range(5))
    assert not any(module.training for module in training.model.modules())


def test_a_parameter_that_never_trained_does_not_train_after_a_thaw():
    model = BY_NAME["vit"].model()
    model.get_parameter("pos_embed").requires_grad_(False)
    freezer = Freezer(model, torch.optim.SGD(model.parameters()), BY_NAME["vit"].layers)
    freezer.freeze([0])
    freezer.thaw([0])
    assert not model.get_parameter("pos_embed").requires_grad
    assert model.get_parameter("cls_token").requires_grad


@pytest.mark.parametrize("index", [-1, 5])
def test_a_layer_that_does_not_exist_is_refused(index):
    training = Training(BY_NAME["plain"])
    with pytest.raises(UserError, match=rf"layer {index} cannot freeze; the layers are 0 to 4"):
        training.freezer.freeze([index])
    assert not training.freezer.frozen


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_of_a_frozen_model_is_frozen_and_stands_alone(duplicate):
    training = Training(BY_NAME["residual"])
    training.freezer.freeze(range(10))
    copied = duplicate(training.model)
    norm = copied.get_submodule("layer1.0.bn1")
    assert norm is not training.model.get_submodule("layer1.0.bn1")
    assert norm.train() is norm
    copied.train()
    assert not norm.training
    assert not norm.weight.requires_grad
    assert copied.get_submodule("layer4.0.bn1").training
    training.freezer.thaw(range(10))
    training.step(0)
    copied.train()
    assert not norm.training
    assert norm.num_batches_tracked == 0


def test_the_state_of_a_frozen_model_goes_into_a_new_one():
    training = Training(BY_NAME["residual"])
    training.step(0)
    training.freezer.freeze(range(10))
    training.step(1)
    fresh = BY_NAME["residual"].model()
    fresh.load_state_dict(training.model.state_dict())
    assert not differing(fresh.state_dict(), training.model.state_dict())
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


def test_every_norm_with_running_statistics_freezes():
    model, inputs = TrackedInstanceNorm(), (torch.randn(2, 3, 8, 8),)
    layers = find_layers(model, inputs)
    Freezer(model, torch.optim.SGD(model.parameters()), layers).freeze([0])
    model.train()(*inputs)
    assert torch.equal(model.norm.running_mean, torch.zeros(4))
