"""Tests of trace_products: all products are found once, with the layers that need gradients."""

from functools import cache
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.costs.autograd_graph import Product, make_mask, trace_products
from bench.errors import UserError
from bench.layers.activations import get_logits
from tests.support.small_models import FAMILIES

BY_NAME = {family.name: family for family in FAMILIES}


@cache
def products_of(name: str) -> tuple[Product, ...]:
    family = BY_NAME[name]
    return trace_products(family.model(), family.layers, family.inputs(1))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_all_products_are_found_and_scale_with_batch_size(family):
    products = products_of(family.name)
    for samples in (1, 3):
        model = family.model().eval()
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            model(*family.inputs(samples))
        traced = trace_products(model, family.layers, family.inputs(samples))
        assert sum(p.flops for p in traced) == counter.get_total_flops()
        assert [p.flops for p in traced] == [samples * p.flops for p in products]
        assert [(p.operands, p.layer) for p in traced] == [(p.operands, p.layer) for p in products]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_each_layer_weight_is_the_second_factor_of_its_product(family):
    products = products_of(family.name)
    with_products = {p.layer for p in products if p.layer is not None}
    tables = [name for name, m in family.model().named_modules() if isinstance(m, nn.Embedding)]
    assert with_products == {x.index for x in family.layers if x.name not in tables}
    for product in products:
        assert product.layer is None or product.operands[1] == 1 << product.layer


@pytest.mark.parametrize(
    ("name", "attention"),
    [("plain", 0), ("residual", 0), ("depthwise", 0), ("vit", 4), ("torch_vit", 4), ("bert", 4)],
)
def test_each_attention_has_two_products_of_activations(name, attention):
    assert sum(p.layer is None for p in products_of(name)) == attention


def test_downsampling_branch_needs_no_gradient_from_its_main_branch():
    family = BY_NAME["residual"]
    index = {layer.name: layer.index for layer in family.layers}
    branch = next(p for p in products_of("residual") if p.layer == index["layer2.0.downsample.0"])
    before = make_mask(range(index["layer2.0.conv1"]))
    assert branch.operands[0] == before  # without conv1, conv2 and conv3 of its block


def test_attention_factors_reach_query_key_and_value_layers():
    family = BY_NAME["bert"]
    index = {layer.name: layer.index for layer in family.layers}
    scores, mixed = (p for p in products_of("bert") if p.layer is None and p.operands[0] < 1 << 7)
    q, k, v = (1 << index[f"layer.0.attention.{x}"] for x in ("query", "key", "value"))
    below = make_mask([0, 1, 2]) | q  # the embeddings; their norm belongs to the query layer
    assert scores.operands == (below | q, below | k)
    assert mixed.operands == (below | q | k, below | v)


@given(st.frozensets(st.integers(0, 200)))
def test_mask_holds_each_layer_once(layers):
    mask = make_mask([*layers, *layers])
    assert {i for i in range(201) if mask >> i & 1} == layers


def test_get_logits_accepts_tensors_and_logits_attributes_only():
    logits = torch.zeros(2, 3)
    assert get_logits(logits) is logits
    assert get_logits(SimpleNamespace(logits=logits)) is logits
    with pytest.raises(UserError, match="tuple"):
        get_logits((logits, logits))
