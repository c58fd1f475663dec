"""Tests of compute_layer_outputs: correct outputs, without changes to the model."""

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.errors import UserError
from bench.layers.activations import compute_layer_outputs
from bench.layers.discovery import Layer, find_layers
from bench.layers.freezing import Freezer
from tests.support.small_models import FAMILIES

BY_NAME = {family.name: family for family in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
@settings(max_examples=5)
@given(st.data())
def test_recording_is_repeatable_and_does_not_change_the_model(family, data):
    model = family.model()
    Freezer(model, torch.optim.SGD(model.parameters()), family.layers).freeze(
        data.draw(family.draw_masks())
    )
    model.train(data.draw(st.booleans()))
    inputs = family.inputs(3)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    stream = torch.random.get_rng_state()
    first, second = (compute_layer_outputs(model, family.layers, inputs) for _ in range(2))
    assert len(first) == len(family.layers)
    for layer, output in zip(family.layers, first, strict=True):
        assert output.dim() == 2
        assert len(output) == (7 if "position" in layer.name else 3)
    assert not any(output.requires_grad for output in first)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(stream, torch.random.get_rng_state())
    assert not any(module._forward_hooks for module in model.modules())
    # The head's output equals the model's output in eval mode: no dropout, running statistics.
    torch.testing.assert_close(first[-1], model.eval()(*inputs).detach())


def test_outputs_are_taken_after_batch_norm_and_before_in_place_relu():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Flatten(),
        nn.Linear(4 * 4 * 4, 6), nn.ReLU(inplace=True), nn.Linear(6, 5),
    )  # fmt: skip
    inputs = (torch.randn(8, 3, 6, 6),)
    model(*inputs)  # updates the running statistics
    layers = find_layers(model, inputs)
    conv, body, head = compute_layer_outputs(model, layers, inputs)
    model.eval()
    with torch.no_grad():
        after_norm = model[1](model[0](*inputs))
        assert torch.equal(conv, after_norm.flatten(1))
        assert (conv < 0).any()
        hidden = model[4](after_norm.relu().flatten(1))
        assert torch.equal(body, hidden)
        assert (body < 0).any()
        assert torch.equal(head, model[6](hidden.relu()))


def test_each_sample_has_its_own_row_in_a_windowed_model():
    model = torchvision.models.SwinTransformer(
        patch_size=[2, 2], embed_dim=8, depths=[2, 2], num_heads=[2, 2], window_size=[2, 2],
        num_classes=5,
    )  # fmt: skip
    images = torch.randn(3, 3, 16, 16)
    layers = find_layers(model, (images,))
    together = compute_layer_outputs(model, layers, (images,))
    alone = [compute_layer_outputs(model, layers, (image[None],)) for image in images]
    assert len(together) == len(layers)  # including layers whose module is never called
    for index, rows in enumerate(together):
        by_image = torch.cat([outputs[index] for outputs in alone])
        torch.testing.assert_close(rows, by_image, rtol=1e-4, atol=1e-5)


def test_first_output_counts_if_a_layer_runs_twice():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(4, 5))
    inputs = (torch.randn(2, 4),)
    layers = find_layers(model, inputs)
    assert torch.equal(compute_layer_outputs(model, layers, inputs)[0], shared(*inputs).detach())


def test_model_is_unchanged_after_an_error():
    model = BY_NAME["residual"].model()
    with pytest.raises(RuntimeError):
        compute_layer_outputs(model, BY_NAME["residual"].layers, (torch.randn(2, 4, 16, 16),))
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


class Aside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 5)
        self.parts = nn.ModuleList([nn.Linear(4, 4)])

    def forward(self, x):
        return self.head(self.body(x))


def test_layer_without_output_is_named_in_the_error():
    model, inputs = Aside(), (torch.randn(2, 4),)
    aside = Layer(2, "parts.0", ("parts.0",), ("parts.0.weight",), 16, 2, head=True)
    with pytest.raises(UserError, match=r"no output in the forward pass: parts\.0"):
        compute_layer_outputs(model, (*find_layers(model, inputs), aside), inputs)


class SequenceFirst(nn.Module):
    """Batch-first model whose transformer layers expect the sequence first, torch's default."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 8)
        self.places = nn.Embedding(4, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = self.places(torch.arange(4))
        hidden = self.encoder((self.embed(x) + places).transpose(0, 1))
        logits: torch.Tensor = self.head(hidden.mean(0))
        return logits


@pytest.mark.parametrize("samples", [2, 3, 4])  # 4 is also the length of the sequence
def test_each_sample_has_its_own_row_if_layers_have_the_sequence_first(samples):
    model, x = SequenceFirst(), torch.randn(samples, 4, 6)
    layers = find_layers(model, (x[:1],))
    assert {layer.sample_dim for layer in layers} == {0, 1, None}
    together = compute_layer_outputs(model, layers, (x,))
    alone = [compute_layer_outputs(model, layers, (each[None],)) for each in x]
    for index, rows in enumerate(together):
        by_sample = [outputs[index] for outputs in alone]
        if layers[index].sample_dim is None:
            assert torch.equal(rows, model.places.weight)
            assert all(torch.equal(rows, one) for one in by_sample)
        else:
            torch.testing.assert_close(rows, torch.cat(by_sample), rtol=1e-4, atol=1e-6)


class Padded(nn.Module):
    """Encoder that gets a padding mask, for which torch passes nested tensors to the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(9, 8), nn.Linear(8, 5)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.encoder(self.embed(ids), src_key_padding_mask=ids == 0)
        logits: torch.Tensor = self.head(hidden.mean(1))
        return logits


def test_an_encoder_with_a_padding_mask_has_rows_for_its_samples():
    model, ids = Padded(), torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [7, 0, 0, 0]])
    layers = find_layers(model, (ids[:1],))
    outputs = compute_layer_outputs(model, layers, (ids,))
    assert [len(rows) for rows in outputs] == [3] * len(layers)
    assert model.encoder.use_nested_tensor


class OneSample(nn.Module):
    """Model that accepts one sample only, and keeps a tensor made for its first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "start"):
            self.start = torch.zeros(len(x), 4)
        logits: torch.Tensor = self.head(self.body(x.squeeze(0)) + self.start)
        return logits


def test_layers_are_found_in_a_model_that_accepts_one_sample_only():
    model, x = OneSample(), torch.randn(1, 1, 4)
    layers = find_layers(model, (x,))
    assert [layer.name for layer in layers] == ["body", "head"]
    assert not hasattr(model, "start")


class Gated(nn.Module):
    """Model with one layer whose output is a scalar, and one layer whose output has 5,000 rows."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.table, self.head = nn.Linear(4, 4), nn.Linear(1, 2), nn.Linear(4, 5)
        self.gate = Total()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        many = self.table(torch.ones(5000, 1)).mean()
        logits: torch.Tensor = self.head(self.body(x) * self.gate() * many)
        return logits


class Total(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Linear(3, 3, bias=False)

    def forward(self) -> torch.Tensor:
        total: torch.Tensor = self.weights.weight.sum()
        return total


def test_outputs_without_samples_have_a_limited_number_of_rows():
    model, x = Gated(), torch.randn(3, 4)
    layers = find_layers(model, (x,))
    outputs = compute_layer_outputs(model, layers, (x,))
    rows = {layer.name: tuple(output.shape) for layer, output in zip(layers, outputs, strict=True)}
    assert rows["table"] == (1000, 2)
    assert rows["gate.weights"] == (1, 1)
    assert rows["body"] == (3, 4)


def test_an_output_that_cannot_be_divided_among_the_samples_is_named():
    class Uneven(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 5)

        def forward(self, x):
            some = self.body(x[: 1 + len(x) // 2])
            return self.head(some.mean(0, keepdim=True).expand(len(x), 4))

    model, inputs = Uneven(), (torch.randn(4, 4),)
    with pytest.raises(UserError, match=r"layer body: its output of shape \(3, 4\) cannot be"):
        compute_layer_outputs(model, find_layers(model, inputs), inputs)
