"""Tests of Splitter: a split forward pass equals the whole one and has the stated FLOPs."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from torchvision.ops import StochasticDepth

from bench.costs.autograd_graph import Product
from bench.costs.flops import FlopModel, count_flops
from bench.errors import UserError
from bench.layers.discovery import find_layers
from bench.layers.freezing import Freezer
from bench.prefix.cut_checks import check_cut, check_same
from bench.prefix.fold_batchnorm import fold_batchnorms
from bench.prefix.graph_split import Cut, Splitter
from tests.support.small_models import FAMILIES, Family, make_labels

SAMPLES = 4
IMAGES = [f for f in FAMILIES if not f.name.endswith("bert")]  # only image models are split


@cache
def flop_model(family: Family) -> FlopModel:
    return count_flops(family.model(), family.layers, family.inputs(1))


def frozen_and_cut(family: Family, frozen: frozenset[int]) -> tuple[nn.Module, Cut | None]:
    """Return a model in train mode with the given frozen layers, and its cut."""
    model = family.model()
    # With a mean of 0 and a variance of 1, folding would change nothing.
    generator = torch.Generator().manual_seed(1)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            centre = 1 if name.endswith("var") else 0
            buffer.copy_(centre + 0.2 * torch.rand(buffer.shape, generator=generator))
    splitter = Splitter(model, family.layers, flop_model(family), family.inputs(SAMPLES))
    Freezer(model, torch.optim.SGD(model.parameters()), family.layers).freeze(frozen)
    return model, splitter.cut()


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def test_a_device_out_of_memory_is_not_blamed_on_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("bench.prefix.graph_split._Tracer.trace", fail)
    family = IMAGES[0]
    with pytest.raises(torch.OutOfMemoryError):
        Splitter(family.model(), family.layers, flop_model(family), family.inputs(SAMPLES))


@pytest.mark.parametrize("family", IMAGES, ids=lambda f: f.name)
@settings(max_examples=25)
@given(st.data())
def test_split_pass_gives_logits_gradients_and_buffers_of_whole_pass(family, data):
    frozen = data.draw(family.draw_masks())
    model, cut = frozen_and_cut(family, frozen)
    if cut is None:
        assert 0 not in frozen
        return
    assert cut.layers <= frozen
    check_cut(cut, model, family.inputs(SAMPLES))
    inputs, state = family.inputs(SAMPLES), {k: v.clone() for k, v in model.state_dict().items()}
    outcomes = []
    for way in ("whole", "cut"):
        model.load_state_dict(state)
        torch.manual_seed(3)  # dropout
        if way == "whole":
            logits = model(*inputs)
        else:
            with torch.no_grad():
                cut_tensors = cut.prefix(*inputs)
            assert all(len(t) == SAMPLES and not t.requires_grad for t in cut_tensors)
            logits = cut.rest(*inputs, *cut_tensors)
        F.cross_entropy(logits, make_labels(SAMPLES)).backward()
        buffers = {k: v.clone() for k, v in model.named_buffers()}
        outcomes.append((logits.detach(), gradients(model), buffers))
    (whole, first, moved), (parts, second, moved_too) = outcomes
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5)
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(second[name], first[name], rtol=1e-3, atol=1e-5)
    for name in moved:
        torch.testing.assert_close(moved_too[name], moved[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", IMAGES, ids=lambda f: f.name)
@settings(max_examples=25)
@given(st.data())
def test_saved_flops_equal_torch_counter(family, data):
    frozen = data.draw(family.draw_masks())
    model, cut = frozen_and_cut(family, frozen)
    saved = cut.exact if cut else 0
    with sdpa_kernel(SDPBackend.MATH):
        with torch.no_grad():
            cut_tensors = cut.prefix(*family.inputs(SAMPLES)) if cut else ()
        with FlopCounterMode(display=False) as counter:
            if cut:
                cut.rest(*family.inputs(SAMPLES), *cut_tensors)
            else:
                model(*family.inputs(SAMPLES))
    full = flop_model(family).exact(frozen).forward
    assert counter.get_total_flops() == SAMPLES * (full - saved)
    if cut:
        assert cut.paper == sum(flop_model(family).forward[i] for i in cut.layers)


@pytest.mark.parametrize("family", IMAGES, ids=lambda f: f.name)
def test_deeper_prefix_saves_more_flops(family):
    body = len(family.layers) - 1
    cuts = [frozen_and_cut(family, frozenset(range(n)))[1] for n in range(body + 1)]
    saved = [cut.exact if cut else 0 for cut in cuts]
    assert saved[0] == 0
    assert saved == sorted(saved)
    assert saved[1] > 0
    if family.name == "depthwise":  # no branch with random numbers before the head
        assert all(cut.layers == frozenset(range(n)) for n, cut in enumerate(cuts) if cut)


def test_dropout_before_the_head_ends_prefix():
    family = next(f for f in FAMILIES if f.name == "plain")
    names = [layer.name for layer in family.layers]
    cut = frozen_and_cut(family, frozenset(range(len(names) - 1)))[1]
    assert cut is not None
    assert not any("classifier_2" in node for node in cut.nodes)  # the dropout
    assert cut.layers == frozenset(range(len(names) - 1))  # with the layer before it


class Drawing(nn.Module):
    """Convolution, a given module, another convolution, and the head."""

    def __init__(self, draws: nn.Module) -> None:
        super().__init__()
        self.first, self.draws = nn.Conv2d(3, 4, 3), draws
        self.second, self.head = nn.Conv2d(4, 4, 3), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.draws(self.first(x))).mean((2, 3)))


class Noise(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.01 * torch.rand_like(x) if self.training else x


@pytest.mark.parametrize(
    ("draws", "length"),
    [
        (StochasticDepth(0.01, "row"), 1),
        (nn.RReLU(), 1),
        (nn.Dropout2d(0.01), 1),
        (Noise(), 1),
        (nn.Dropout(0.0), 2),
        (StochasticDepth(0.0, "row"), 2),
        (nn.ReLU(), 2),
    ],
    ids=str,
)
def test_any_module_with_random_numbers_ends_prefix_unless_it_is_off(draws, length):
    model, inputs = Drawing(draws), (torch.randn(SAMPLES, 3, 8, 8),)
    layers = find_layers(model, inputs)
    forward = tuple(2.0 * p for p in (36 * 27 * 4, 16 * 36 * 4, 8))
    flops = FlopModel(forward, tuple(Product(f, (0, 1 << i), i) for i, f in enumerate(forward)))
    stream = torch.random.get_rng_state()
    splitter = Splitter(model, layers, flops, inputs)
    assert torch.equal(torch.random.get_rng_state(), stream)
    optimizer = torch.optim.SGD(model.parameters())
    for keep, expected in ((True, length), (False, 2), (True, length)):
        freezer = Freezer(model, optimizer, layers, keep_dropout=keep)
        freezer.freeze([0, 1])
        cut = splitter.cut()
        assert cut is not None
        assert cut.layers == frozenset(range(expected))
        freezer.thaw([0, 1])


class DropsByFunction(nn.Module):
    """Block that passes its mode to a dropout function."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(self.body(x), 0.5, training=self.training)


def test_dropout_by_a_function_is_off_in_a_frozen_block():
    blocks = (DropsByFunction(), nn.Linear(6, 6), DropsByFunction())
    model, inputs = nn.Sequential(*blocks, nn.Linear(6, 5)).train(), (torch.randn(SAMPLES, 6),)
    layers = find_layers(model, inputs)
    splitter = Splitter(model, layers, count_flops(model, layers, (inputs[0][:1],)), inputs)
    freezer = Freezer(model, torch.optim.SGD(model.parameters()), layers)
    for frozen in ([0], [2]):  # layer 2 is in the rest
        freezer.freeze(frozen)
        cut = splitter.cut()
        assert cut is not None
        assert cut.layers == frozenset({0})
        check_cut(cut, model, inputs)
    torch.testing.assert_close(cut.rest(*inputs, *cut.prefix(*inputs)), model.eval()(*inputs))


@pytest.mark.parametrize("family", IMAGES, ids=lambda f: f.name)
def test_folding_changes_outputs_by_rounding_only_and_keeps_weights(family):
    inputs, body = family.inputs(SAMPLES), len(family.layers) - 1
    for count in range(1, body + 1):
        model, cut = frozen_and_cut(family, frozenset(range(count)))
        if cut is None:
            continue
        before = {k: v.clone() for k, v in model.state_dict().items()}
        plain = cut.prefix(*inputs)
        folded = fold_batchnorms(cut.prefix)
        norms = sum(
            isinstance(model.get_submodule(m), nn.BatchNorm2d)
            for i in cut.layers
            for m in family.layers[i].modules
        )
        # timm's BatchNorm with an activation is not folded; these models have none.
        assert folded == norms
        for one, other in zip(cut.prefix(*inputs), plain, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-4)
        same = all(torch.equal(a, b) for a, b in zip(cut.prefix(*inputs), plain, strict=True))
        dead = not any(tensor.any() for tensor in plain)  # all channels of a fresh block are zero
        assert same == (folded == 0 or dead)
        check_same(plain, cut.prefix(*inputs), "its prefix")
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_check_same_raises_on_values_beyond_rounding():
    cut_tensors = (torch.ones(2, 3), torch.zeros(2))
    check_same(cut_tensors, (torch.ones(2, 3) + 5e-5, torch.zeros(2)), "it")
    with pytest.raises(UserError, match="it returns other values after BatchNorm is folded"):
        check_same(cut_tensors, (torch.ones(2, 3) + 5e-4, torch.zeros(2)), "it")
    with pytest.raises(UserError, match="it returns other values after BatchNorm is folded"):
        check_same(cut_tensors, (torch.ones(2, 3), torch.zeros(2) * torch.nan), "it")


class Hidden(nn.Module):
    """Model whose forward pass changes with every call, although its graph looks constant."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = Noisy(), nn.Linear(6, 5)

    def forward(self, x):
        return self.head(self.body(x))


class Noisy(nn.Linear):
    def __init__(self) -> None:
        super().__init__(6, 6)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * self.calls


def test_check_cut_raises_if_prefix_changes_between_calls():
    model, inputs = Hidden().train(), (torch.randn(4, 6),)
    layers = find_layers(model, inputs)
    splitter = Splitter(model, layers, count_flops(model, layers, (inputs[0][:1],)), inputs)
    Freezer(model, torch.optim.SGD(model.parameters()), layers).freeze([0])
    cut = splitter.cut()
    assert cut is not None
    with pytest.raises(UserError, match="changes the output; set cache_prefix = false"):
        check_cut(cut, model, inputs)


class Storing(nn.Module):
    """Model with dropout that stores a tensor in eval mode, like EfficientFormer."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.drop, self.head = StoredScale(), nn.Dropout(), nn.Linear(6, 5)

    def forward(self, x):
        return self.head(self.drop(self.body(x)))


class StoredScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.scale, self.stored = nn.Linear(6, 6), nn.Parameter(torch.ones(6)), {}

    def forward(self, x):
        if self.training:
            return self.inner(x) * (self.scale * 2)
        if "scale" not in self.stored:
            self.stored["scale"] = self.scale * 2
        return self.inner(x) * self.stored["scale"]


def test_tracing_stores_nothing_in_the_model():
    model, inputs = Storing().train(), (torch.randn(4, 6),)
    layers = find_layers(model, inputs)
    splitter = Splitter(model, layers, count_flops(model, layers, (inputs[0][:1],)), inputs)
    Freezer(model, torch.optim.SGD(model.parameters()), layers).freeze([0])
    assert not model.body.training
    cut = splitter.cut()
    assert cut is not None
    assert not model.body.stored
    check_cut(cut, model, inputs)


def test_untraceable_forward_pass_raises_one_line_error():
    # BERT unpacks the shape of a tensor, which torch.fx cannot trace.
    bert = next(f for f in FAMILIES if f.name == "bert")
    with pytest.raises(UserError, match=r"cannot trace.*set cache_prefix = false") as caught:
        Splitter(bert.model(), bert.layers, flop_model(bert), bert.inputs(SAMPLES))
    assert "\n" not in str(caught.value)
