"""Tests of find_layers: each parameter is in one layer; layers are in order of first use."""

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from timm import create_model
from torch import nn
from torch.nn import functional as F

from bench.errors import UserError
from bench.layers.discovery import Layer, find_layers
from tests.support.small_models import FAMILIES, Family, make_images, make_sentences

BY_NAME = {family.name: family for family in FAMILIES}


def by_name(layers: tuple[Layer, ...]) -> dict[str, Layer]:
    return {layer.name: layer for layer in layers}


def check_partition(model: nn.Module, layers: tuple[Layer, ...]) -> None:
    """Check that each parameter is in one layer, and check order, indices, sizes and the head."""
    names = [name for layer in layers for name in layer.parameters]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())
    assert [layer.index for layer in layers] == list(range(len(layers)))
    assert [layer.head for layer in layers] == [False] * (len(layers) - 1) + [True]
    for layer in layers:
        assert layer.size == sum(model.get_parameter(name).numel() for name in layer.parameters)
        assert layer.parameters[0].startswith(f"{layer.name}.")
        assert layer.modules[0] == layer.name
    blocks = [layer.block for layer in layers]
    assert blocks == sorted(blocks)  # layers of a block are consecutive
    assert set(blocks) == set(range(blocks[-1] + 1))
    assert blocks.count(blocks[-1]) == 1  # the head stands alone


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_every_parameter_belongs_to_exactly_one_layer(family):
    check_partition(family.model(), family.layers)


# Numbers of layers and of blocks, including the head, and the names of first layer and head.
KNOWN = {
    "resnet50": (54, 54, "conv1", "fc"),
    "vgg11": (11, 11, "features.0", "classifier.6"),
    "mobilenet_v2": (53, 53, "features.0.0", "classifier.1"),
    "swin_t": (53, 13, "features.0.0", "head"),
    "swin_v2_t": (77, 13, "features.0.0", "head"),
    "convnext_tiny": (59, 59, "features.0.0", "classifier.2"),
    "densenet121": (121, 121, "features.conv0", "classifier"),
    "efficientnet_b0": (82, 82, "features.0.0", "classifier.1"),
    "shufflenet_v2_x0_5": (57, 57, "conv1.0", "fc"),
    "googlenet": (58, 58, "conv1.conv", "fc"),
    "vit_b_16": (38, 13, "conv_proj", "heads.head"),
    "maxvit_t": (151, 12, "stem.0.0", "classifier.5"),
    "deit_tiny_patch16_224": (50, 13, "patch_embed.proj", "head"),
    "beit_base_patch16_224": (50, 13, "patch_embed.proj", "head"),
    "mixer_s32_224": (34, 34, "stem.proj", "head"),
    "resnet18d": (23, 23, "conv1.0", "fc"),
    "swin_tiny_patch4_window7_224": (53, 13, "patch_embed.proj", "head.fc"),
    "gcresnext26ts": (56, 56, "stem.conv1.conv", "head.fc"),  # gates named "attn" are not blocks
}


@pytest.mark.filterwarnings("ignore:The default weight initialization of GoogleNet")
@pytest.mark.parametrize("name", KNOWN)
def test_layers_of_known_models(name):
    known = torchvision.models.list_models()
    with torch.device("meta"):  # only shapes matter
        model = torchvision.models.get_model(name) if name in known else create_model(name)
        layers = find_layers(model, (torch.empty(1, 3, 224, 224),))
    check_partition(model, layers)
    assert (len(layers), layers[-1].block + 1, layers[0].name, layers[-1].name) == KNOWN[name]


def test_layers_of_regnet():
    model = torchvision.models.regnet_y_400mf()  # cannot be built on the meta device
    layers = find_layers(model, (torch.zeros(1, 3, 32, 32),))
    check_partition(model, layers)
    assert (layers[0].name, layers[-1].name) == ("stem.0", "fc")


class Shuffled(nn.Module):
    """Model that registers its parts in one order and runs them in another."""

    def __init__(self, registered: list[str], norms: list[str], run: list[str]) -> None:
        super().__init__()
        for name in registered:
            self.add_module(f"{name}_weight", nn.Linear(4, 4))
            if norms[int(name[1:])] != "none":
                self.add_module(
                    f"{name}_norm", nn.BatchNorm1d(4) if norms[int(name[1:])] == "batch"
                    else nn.LayerNorm(4)
                )  # fmt: skip
        self.norms, self.run = norms, run

    def forward(self, x):
        for name in self.run:
            kind = self.norms[int(name[1:])]
            if kind == "layer":  # before the weights
                x = self.get_submodule(f"{name}_norm")(x)
            x = self.get_submodule(f"{name}_weight")(x)
            if kind == "batch":  # after the weights
                x = self.get_submodule(f"{name}_norm")(x)
        return x


@settings(max_examples=60)
@given(st.data(), st.integers(1, 6))
def test_layers_are_in_order_of_first_use_with_their_norms(data, count):
    names = [f"p{i}" for i in range(count)]
    kind = st.sampled_from(["none", "batch", "layer"])
    norms = data.draw(st.lists(kind, min_size=count, max_size=count))
    registered = data.draw(st.permutations(names))
    run = data.draw(st.permutations(names))
    again = data.draw(st.lists(st.sampled_from(names), max_size=2))  # a second use changes nothing
    model = Shuffled(registered, norms, run + again)
    layers = find_layers(model, (torch.randn(3, 4),))
    check_partition(model, layers)
    assert [layer.name for layer in layers] == [f"{name}_weight" for name in run]
    for layer, name in zip(layers, run, strict=True):
        norm = (f"{name}_norm",) if norms[int(name[1:])] != "none" else ()
        assert layer.modules == (layer.name, *norm)


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("bert", ["words", "positions", "kinds", "pooler"]),
        ("vit", ["patch_embed.proj"]),
        ("plain", []),
    ],
)
def test_embeddings_and_pooler_only_join_a_block(name, outside):
    assert [layer.name for layer in BY_NAME[name].layers if not layer.in_block] == outside


def test_attention_with_its_projections_is_one_layer():
    name = "encoder.layers.encoder_layer_1.self_attention"
    layer = by_name(BY_NAME["torch_vit"].layers)[name]
    assert {p.removeprefix(f"{name}.") for p in layer.parameters if p.startswith(name)} == {
        "in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("vit", [0] * 5 + [1] * 4 + [2]),
        ("torch_vit", [0] * 4 + [1] * 3 + [2]),
        ("bert", [0] * 9 + [1] * 7 + [2]),  # embeddings first, pooler last
        ("plain", list(range(5))),
        ("residual", list(range(20))),
    ],
)
def test_blocks_are_transformer_blocks_or_single_layers(name, blocks):
    assert [layer.block for layer in BY_NAME[name].layers] == blocks


def test_layers_between_two_blocks_join_the_later_block():
    with torch.device("meta"):
        layers = find_layers(torchvision.models.swin_t(), (torch.empty(1, 3, 224, 224),))
    blocks = {layer.name: layer.block for layer in layers}
    assert blocks["features.0.0"] == blocks["features.1.0.attn.qkv"] == 0
    assert blocks["features.2.reduction"] == blocks["features.3.0.attn.qkv"] == 2


class Functional(nn.Module):
    """Model that uses weights without calling their modules, as Swin and BEiT do."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.middle, self.first = (nn.Linear(4, 4) for _ in range(3))
        self.embedding = nn.Embedding(11, 4)

    def forward(self, words):
        x = F.embedding(words, self.embedding.weight)
        x = F.linear(x, self.first.weight.to(x.dtype), self.first.bias)
        x = self.middle(x)
        return F.linear(x, self.last.weight, self.last.bias).mean(1)


def test_layers_of_modules_never_called_are_ordered_by_weight_use():
    model = Functional()
    layers = find_layers(model, make_sentences(2))
    check_partition(model, layers)
    assert [layer.name for layer in layers] == ["embedding", "first", "middle", "last"]


def test_parts_of_torch_transformer_layer_are_found():
    model = nn.Sequential(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(24, 5)
    )
    layers = find_layers(model.eval().requires_grad_(False), (torch.randn(2, 3, 8),))
    check_partition(model, layers)
    norms = {layer.name: layer.modules[1:] for layer in layers if layer.name != "0.self_attn"}
    assert layers[0].name == "0.self_attn"
    assert norms == {"0.linear1": ("0.norm1",), "0.linear2": ("0.norm2",), "2": ()}


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.body = nn.Embedding(11, 4), nn.Linear(4, 4)
        self.bare, self.head = nn.Linear(4, 11, bias=False), nn.Linear(11, 5)
        self.bare.weight = self.words.weight

    def forward(self, words):
        return self.head(self.bare(self.body(self.words(words)))).mean(1)


def test_shared_weight_belongs_to_the_module_used_first():
    model = Tied()
    layers = find_layers(model, make_sentences(2))
    check_partition(model, layers)
    assert [layer.name for layer in layers] == ["words", "body", "head"]


class TiedHead(nn.Module):
    """Language model whose head has the weight of its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.body = nn.Embedding(11, 4), nn.Linear(4, 4)
        self.head = nn.Linear(4, 11)
        self.head.weight = self.words.weight

    def forward(self, words):
        return self.head(self.body(self.words(words))).mean(1)


def test_weight_that_the_head_shares_belongs_to_the_head():
    model, inputs = TiedHead(), make_sentences(2)
    layers = find_layers(model, inputs)
    assert [(layer.name, layer.parameters) for layer in layers] == [
        ("body", ("body.weight", "body.bias")),
        ("head", ("head.weight", "head.bias")),
    ]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_discovery_does_not_change_the_model(family: Family):
    model = family.model()
    model.requires_grad_(False)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    stream = torch.random.get_rng_state()
    assert find_layers(model, family.inputs(3)) == family.layers
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())
    assert torch.equal(stream, torch.random.get_rng_state())


def test_model_without_weights_raises():
    with pytest.raises(UserError, match="Flatten has no layer with weights"):
        find_layers(nn.Flatten(), make_images(1))
