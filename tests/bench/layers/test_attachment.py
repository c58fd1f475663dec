"""Tests of the assignment of modules to layers: norms, dropout, and modules that rarely run."""

import pytest
import torch
import torchvision
from torch import nn

from bench.layers.discovery import Layer, find_layers
from bench.layers.freezing import Freezer
from tests.bench.layers.test_discovery import BY_NAME, by_name, check_partition


def test_class_token_and_positions_belong_to_patch_embedding():
    layers = by_name(BY_NAME["vit"].layers)
    assert set(layers["patch_embed.proj"].parameters) == {
        "patch_embed.proj.weight", "patch_embed.proj.bias", "cls_token", "pos_embed"
    }  # fmt: skip
    assert "class_token" in by_name(BY_NAME["torch_vit"].layers)["conv_proj"].parameters


def test_layer_norm_belongs_to_the_next_layer_and_the_last_to_the_head():
    layers = by_name(BY_NAME["vit"].layers)
    assert layers["blocks.0.mlp.fc1"].modules[1:] == ("blocks.0.norm2",)
    assert layers["head"].modules[1:] == ("norm",)
    layers = by_name(BY_NAME["torch_vit"].layers)
    assert layers["heads.head"].modules[1:] == ("encoder.ln",)


def test_output_norm_of_a_post_norm_block_belongs_to_the_block():
    layers = by_name(BY_NAME["bert"].layers)
    assert layers["layer.0.attention.dense"].modules[1:] == ("layer.0.attention.norm",)
    assert layers["layer.0.output"].modules[1:] == ("layer.0.norm",)
    assert layers["layer.1.output"].modules[1:] == ("layer.1.norm",)
    layers = by_name(BY_NAME["transformers_bert"].layers)
    for i in (0, 1):
        norm = f"bert.encoder.layer.{i}.output.LayerNorm"
        assert layers[f"bert.encoder.layer.{i}.output.dense"].modules[1:] == (norm,)
    embeddings = layers["bert.embeddings.position_embeddings"]
    assert embeddings.modules[1:] == ("bert.embeddings.LayerNorm",)


@pytest.mark.parametrize("name", ["swin_v2_t", "swin_t", "convnext_tiny"])
def test_every_layer_norm_inside_a_block_belongs_to_a_layer_of_it(name):
    with torch.device("meta"):
        model = torchvision.models.get_model(name)
        layers = find_layers(model, (torch.empty(1, 3, 224, 224),))
    owner = {module: layer.name for layer in layers for module in layer.modules}
    for module, layer in owner.items():
        parts = module.split(".")
        if parts[0] == "features" and isinstance(model.get_submodule(module), nn.LayerNorm):
            container = ".".join(parts[:-1])  # a block, a stem or a downsampling
            assert layer.startswith(f"{container}."), module


def test_modules_without_weights_belong_to_the_layer_before_or_to_the_head():
    layers = by_name(BY_NAME["transformers_bert"].layers)
    embeddings = layers["bert.embeddings.position_embeddings"]
    assert embeddings.weightless == ("bert.embeddings.dropout",)
    output = layers["bert.encoder.layer.1.output.dense"]
    assert output.weightless == ("bert.encoder.layer.1.output.dropout",)
    assert layers["classifier"].weightless == ("dropout",)
    assert "blocks.1.drop_path2" in by_name(BY_NAME["vit"].layers)["blocks.1.mlp.fc2"].weightless
    assert layers_of_vgg()["classifier.0"].weightless == ("classifier.1", "classifier.2")
    assert "classifier.5" in layers_of_vgg()["classifier.6"].weightless


class Helped(nn.Module):
    """Network with one dropout for two layers, an auxiliary classifier, and weights of its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.centers = nn.ParameterDict({"of_classes": nn.Parameter(torch.ones(2, 4))})
        self.first, self.second, self.third = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.helper = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        self.head, self.drop = nn.Linear(4, 2), nn.Dropout(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        x = self.drop(self.first(x).relu())
        output = self.head(self.third(self.drop(self.second(x).relu())))
        return (output, self.helper(x)) if self.training else output


def test_modules_that_eval_mode_does_not_use_belong_to_the_head():
    model = Helped()
    layers = find_layers(model, (torch.ones(2, 3),))
    check_partition(model, layers)
    assert [layer.name for layer in layers] == ["first", "second", "third", "head"]
    assert layers[-1].modules == ("head", "centers", "helper.0", "helper.1")


def test_dropout_that_several_layers_share_is_off_only_if_all_are_frozen():
    model = Helped()
    layers = find_layers(model, (torch.ones(2, 3),))
    assert [layer.weightless for layer in layers] == [("drop",), ("drop",), (), ()]
    freezer = Freezer(model, torch.optim.SGD(model.parameters()), layers)
    for frozen, on in (({0}, True), ({0, 1}, False), ({1}, True)):
        freezer.thaw(freezer.frozen - frozen)
        freezer.freeze(frozen)
        model.train()
        assert model.drop.training == on


def layers_of_vgg() -> dict[str, Layer]:
    with torch.device("meta"):
        model = torchvision.models.vgg11()
        return by_name(find_layers(model, (torch.empty(1, 3, 224, 224),)))


def test_batch_norm_belongs_to_its_convolution_even_in_a_branch():
    layers = by_name(BY_NAME["residual"].layers)
    assert layers["layer2.0.downsample.0"].modules[1:] == ("layer2.0.downsample.1",)
    assert layers["layer2.0.conv3"].modules[1:] == ("layer2.0.bn3",)
