"""Tests of executed FLOPs: fused attention computes its scores again in the backward pass."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bench.costs.flops import FlopModel, count_flops
from bench.costs.fused_attention import uses_fused_attention
from bench.layers.discovery import find_layers
from bench.models.anatomy import analyze_model
from tests.support.small_models import FAMILIES
from tests.support.tiny_runs import execute_run, make_tiny_spec

BY_NAME = {family.name: family for family in FAMILIES}


def count(name: str) -> FlopModel:
    family = BY_NAME[name]
    return count_flops(family.model(), family.layers, family.inputs(1))


# Tokens, width and blocks. The scores of a block take 2 × tokens² × width FLOPs.
@pytest.mark.parametrize(
    ("name", "tokens", "width", "blocks"),
    [("bert", 7, 12, 2), ("torch_vit", 5, 12, 2), ("vit", 5, 12, 2), ("plain", 0, 0, 0)],
)
def test_executed_flops_of_a_worked_example(
    name: str, tokens: int, width: int, blocks: int
) -> None:
    flops, layers, scores = count(name), BY_NAME[name].layers, 2 * tokens**2 * width
    assert flops.has_attention == bool(blocks)
    for trained in range(blocks + 1):
        frozen = [layer.index for layer in layers if layer.block < blocks - trained]
        exact, executed = flops.exact(frozen), flops.executed(frozen)
        assert executed.forward == exact.forward
        assert executed.backward == exact.backward + trained * scores


class ByHand(nn.Module):
    """Attention of two explicit products, which no fused kernel computes."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.head = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = (self.query(x) @ self.key(x).transpose(1, 2)).softmax(-1)
        logits: torch.Tensor = self.head((weights @ x).mean(1))
        return logits


def test_explicit_products_are_computed_once() -> None:
    model, inputs = ByHand(), (torch.randn(1, 3, 4),)
    flops = count_flops(model, find_layers(model, inputs), inputs)
    assert not flops.has_attention
    assert flops.executed() == flops.exact()


@pytest.mark.parametrize("name", ["bert", "torch_vit"])
def test_fused_kernels_are_found_in_the_graph_of_a_step(name: str) -> None:
    family, stream = BY_NAME[name], torch.random.get_rng_state()
    model, original = family.model(), F.scaled_dot_product_attention
    assert uses_fused_attention(model, family.inputs(2), nullcontext)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert not uses_fused_attention(model, family.inputs(2), nullcontext)
    assert F.scaled_dot_product_attention is original
    assert torch.equal(torch.random.get_rng_state(), stream)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA has fused kernels with dropout")
def test_dropout_in_attention_selects_the_math_backend_on_a_cpu() -> None:
    family = BY_NAME["transformers_bert"]  # dropout of 0.1 in attention
    model = family.model()
    assert not uses_fused_attention(model, family.inputs(2), nullcontext)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    assert uses_fused_attention(model, family.inputs(2), nullcontext)


@pytest.mark.parametrize("model", ["laptop_deit", "laptop_vgg11"])
def test_a_result_has_the_executed_flops(model: str, tmp_path: Path) -> None:
    spec = make_tiny_spec(model=model, train_limit=64, epochs=1)
    found = execute_run(spec, tmp_path)["flops"]
    flops = analyze_model(model, 10, spec.resolution)[1]
    assert found["exact"]["total"] == flops.exact().total * 64
    assert found["executed"]["total"] == flops.executed().total * 64
    assert (found["executed"] != found["exact"]) == (model == "laptop_deit")
