"""Tests of count_flops: exact FLOPs equal torch's counter; paper FLOPs match Table 2."""

from functools import cache

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from timm import create_model
from timm.layers import StdConv2d
from torch import nn
from torch.utils.checkpoint import checkpoint

from bench.costs.flops import FlopModel, Flops, count_flops, count_frozen_prefix
from bench.errors import UserError
from bench.layers.discovery import find_layers
from bench.layers.freezing import Freezer
from tests.support.counted_by_torch import count_by_torch
from tests.support.small_models import FAMILIES, Family


@cache
def flop_model(family: Family) -> FlopModel:
    return count_flops(family.model(), family.layers, family.inputs(1))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=50)
@given(st.data())
def test_exact_flops_equal_torch_counter(family, data):
    frozen = data.draw(family.draw_masks())
    samples = data.draw(st.integers(2, 3))
    spent = flop_model(family).exact(frozen) * samples
    counted = count_by_torch(family.model(), family.layers, family.inputs(samples), frozen)
    assert (spent.forward, spent.backward) == counted


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_exact_flops_equal_torch_counter_with_frozen_head(family):
    head = len(family.layers) - 1
    for frozen in (frozenset([head]), frozenset(range(1, head + 1)), frozenset(range(head + 1))):
        spent = flop_model(family).exact(frozen) * 2
        counted = count_by_torch(family.model(), family.layers, family.inputs(2), frozen)
        assert (spent.forward, spent.backward) == counted


class OddConvolutions(nn.Module):
    """Grouped, strided, dilated, transposed, standardised, 1-D and 'same' convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 8, 3, stride=2, groups=1)
        self.grouped_up = nn.ConvTranspose2d(8, 8, 2, groups=4)
        self.standardised = StdConv2d(8, 6, 3)
        self.dilated = nn.Conv2d(6, 4, 3, stride=2, dilation=2, groups=2)
        self.same = nn.Conv2d(4, 4, (2, 3), padding="same")
        self.line = nn.Conv1d(4, 4, 5, groups=4)
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        x = self.dilated(self.standardised(self.grouped_up(self.up(x))))
        return self.head(self.line(self.same(x).flatten(2)).mean(-1))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@settings(max_examples=50)
@given(st.frozensets(st.integers(0, 5)))
def test_exact_flops_equal_torch_counter_for_all_convolutions(frozen):
    model, inputs = OddConvolutions(), (torch.randn(1, 3, 12, 12),)
    layers = find_layers(model, inputs)
    flops = count_flops(model, layers, inputs)
    spent = flops.exact(frozen)
    assert (spent.forward, spent.backward) == count_by_torch(model, layers, inputs, frozen)
    assert all(flops.exact_forward(layer.index) > 0 for layer in layers)


class Contractions(nn.Module):
    """Attention by einsum and matmul, with learned queries as the left factor of a product."""

    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(3, 8))
        self.first = nn.Linear(6, 8)
        self.second = nn.Linear(8, 8, bias=False)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        keys = self.first(x)
        scores = torch.einsum("qd, nkd -> nqk", self.second(self.queries), keys)
        return self.head(torch.matmul(scores.softmax(-1), keys).mean(1))


@settings(max_examples=10)
@given(st.frozensets(st.integers(0, 2)))
def test_exact_flops_equal_torch_counter_for_einsum_and_learned_queries(frozen):
    model, inputs = Contractions(), (torch.randn(1, 1117, 6),)
    layers = find_layers(model, inputs)
    flops = count_flops(model, layers, inputs)
    spent = flops.exact(frozen)
    assert (spent.forward, spent.backward) == count_by_torch(model, layers, inputs, frozen)
    assert [flops.exact_forward(i) for i in range(3)] == [1117 * 2 * 48, 3 * 2 * 64, 2 * 40]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=50)
@given(st.data())
def test_freezing_more_layers_never_adds_flops(family, data):
    few, more = data.draw(family.draw_masks()), data.draw(family.draw_masks())
    flops = flop_model(family)
    for cost in (flops.exact, flops.paper):
        assert cost(few | more).total <= cost(few).total
        assert cost(few | more).forward == cost().forward


def test_both_conventions_on_a_worked_example():
    model = nn.Sequential(
        nn.Conv2d(2, 3, 3, bias=False), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4),
        nn.Linear(4, 5),
    )  # fmt: skip
    inputs = (torch.randn(1, 2, 4, 4),)
    flops = count_flops(model, find_layers(model, inputs), inputs)
    conv = 2 * (2 * 2) * 3 * (2 * 3 * 3) + 2 * 2 * 12  # BatchNorm: two operations per element
    first, head = 2 * 12 * 4, 2 * 4 * 5
    assert flops.forward == (conv, first, head)
    whole = conv + first + head
    assert flops.paper() == Flops(whole, 2 * whole)
    assert flops.paper([0]) == Flops(whole, 2 * (first + head))  # frozen prefix: no backward FLOPs
    assert flops.paper([1]) == Flops(whole, 2 * (conv + head) + first)  # plus its input gradient
    assert flops.paper([0, 1]) == Flops(whole, 2 * head)
    # Exact: norms are not products, and the gradient of the images is never computed.
    conv -= 2 * 2 * 12
    assert flops.exact().backward == conv + 2 * (first + head)
    assert flops.exact([0]).backward == first + 2 * head
    assert flops.exact([1]).backward == conv + first + 2 * head
    assert flops.exact([0, 1]).backward == head


@pytest.mark.parametrize(
    ("name", "epochs", "paper", "within"),
    [
        ("resnet50", 10, 12_360, 0.02),
        ("vgg11", 10, 22_950, 0.02),
        ("mobilenet_v2", 10, 960, 0.03),
        ("deit_tiny_patch16_224", 100, 32_400, 0.02),
    ],
)
def test_full_training_flops_match_paper_table_2(name, epochs, paper, within):
    with torch.device("meta"):  # skip the slow initialisation; weight values do not matter
        model = create_model(name) if "deit" in name else torchvision.models.get_model(name)
    model = model.to_empty(device="cpu")
    inputs = (torch.zeros(1, 3, 224, 224),)
    flops = count_flops(model, find_layers(model, inputs), inputs)
    tera = flops.paper().total * epochs * 50_000 / 1e12
    assert abs(tera / paper - 1) < within
    if "deit" not in name:  # without attention, mainly the first layer differs
        assert 0.9 < flops.exact().total / flops.paper().total < 1


@given(st.frozensets(st.integers(0, 9)), st.integers(0, 10))
def test_frozen_prefix_is_the_longest_run_of_leading_frozen_layers(frozen, layers):
    prefix = count_frozen_prefix(frozen, layers)
    assert all(i in frozen for i in range(prefix))
    assert prefix == layers or prefix not in frozen


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_counting_does_not_change_model_or_random_state(family):
    model = family.model()
    layers = family.layers
    Freezer(model, torch.optim.SGD(model.parameters()), layers).freeze(range(len(layers)))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    gradients = [p.requires_grad for p in model.parameters()]
    stream = torch.random.get_rng_state()
    counted = count_flops(model, layers, family.inputs(1))
    assert counted == flop_model(family)  # frozen layers are counted as trainable
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert modes == [m.training for m in model.modules()]
    assert gradients == [p.requires_grad for p in model.parameters()]
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(stream, torch.random.get_rng_state())


class Spectral(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(torch.fft.fft(x).real)


def test_unknown_operator_is_named_in_the_error():
    model, inputs = Spectral(), (torch.randn(1, 8),)
    with pytest.raises(UserError, match=r"fft_fft.*NOT_COUNTED"):
        count_flops(model, find_layers(model, inputs), inputs)


class HalfWithoutGraph(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x):
        with torch.no_grad():
            x = self.body(x)
        return self.head(x)


def test_product_under_no_grad_raises():
    model, inputs = HalfWithoutGraph(), (torch.randn(1, 8),)
    with pytest.raises(UserError, match=r"208 by fvcore, 80 by the autograd graph"):
        count_flops(model, find_layers(model, inputs), inputs)


class UnusedProduct(nn.Module):
    """Model with a pooler whose output nothing uses, as in BigBird's classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.pooler, self.head = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x):
        hidden = self.body(x)
        self.pooler(hidden)
        return self.head(hidden)


@pytest.mark.parametrize("frozen", [frozenset(), frozenset([0]), frozenset([1])])
def test_exact_flops_include_products_whose_result_is_not_used(frozen):
    model, inputs = UnusedProduct(), (torch.randn(2, 4),)
    layers = find_layers(model, inputs)
    spent = count_flops(model, layers, (inputs[0][:1],)).exact(frozen) * 2
    counted = count_by_torch(model, layers, inputs, frozen)
    assert (spent.forward, spent.backward) == counted
    assert spent.forward == 2 * 2 * 3 * 4 * 4


class Checkpointed(nn.Module):
    """Network that recomputes its middle part in the backward pass if `again` is true.

    It does so in eval mode too, as timm does.
    """

    def __init__(self, again: bool) -> None:
        super().__init__()
        self.again = again
        self.stem, self.body, self.head = nn.Conv1d(4, 6, 1), nn.Conv1d(6, 6, 1), nn.Linear(9, 2)

    def forward(self, x):
        x = self.stem(x)
        x = checkpoint(self._attend, x, use_reentrant=False) if self.again else self._attend(x)
        return self.head(x.mean(1))

    def _attend(self, x):
        x = self.body(x).relu()
        return nn.functional.scaled_dot_product_attention(x, x, x)


def test_products_that_the_model_itself_recomputes_are_not_counted():
    inputs, counted = (torch.randn(1, 4, 9),), []
    for again in (False, True):
        model = Checkpointed(again)
        counted.append(count_flops(model, find_layers(model, inputs), inputs))
    assert counted[0] == counted[1]
    assert counted[0].exact().forward == 2 * 9 * (4 * 6 + 6 * 6) + 2 * 2 * 6 * 6 * 9 + 2 * 9 * 2


class ComparesSamples(nn.Module):
    """Contrastive model that multiplies the features of all samples of a batch with each other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(4, 6), nn.Linear(6, 8)

    def forward(self, x):
        features = self.head(self.stem(x).relu())
        return features @ features.t()


def test_models_whose_flops_grow_faster_than_the_batch_are_refused():
    encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0)  # the second dimension is samples
    sequence_first = nn.Sequential(nn.Linear(4, 8), encoder, nn.Linear(8, 3))
    for model, inputs in (
        (ComparesSamples(), (torch.randn(1, 4),)),
        (sequence_first, (torch.randn(1, 3, 4),)),
    ):
        with pytest.raises(UserError, match="FLOPs grow faster than the batch"):
            count_flops(model, find_layers(model, inputs), inputs)


@pytest.mark.parametrize("frozen", [frozenset(), frozenset([0])])
def test_exact_flops_leave_out_the_gradient_of_a_weight_that_never_trains(frozen):
    model = nn.Sequential(
        nn.Linear(4, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Linear(8, 3)
    )
    name = "1.self_attn.out_proj.weight"
    inputs = (torch.randn(1, 5, 4),)
    layers = find_layers(model, inputs)
    model.get_parameter(name).requires_grad_(False)
    every = count_flops(model, layers, inputs).exact(frozen)
    spent = count_flops(model, layers, inputs, never_trained=[name]).exact(frozen)
    assert every.forward == spent.forward
    assert every.backward - spent.backward == 2 * 5 * 8 * 8
