"""Tests of BERT: FLOPs and memory at every length, padding and checkpoints."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.nn import functional as F

from bench.costs.flops_by_input_size import FlopsBySize
from bench.costs.saved_memory import SavedBytes, predict_saved_bytes
from bench.errors import UserError
from bench.layers.activations import get_logits
from bench.layers.discovery import find_layers
from bench.layers.freezing import Freezer
from bench.models.anatomy import analyze_model
from bench.models.catalogue import build
from bench.models.texts.catalogue import list_text_models
from bench.models.weights.loading import load_backbone
from tests.support.counted_by_torch import count_by_torch
from tests.support.small_models import make_texts

SMALL = ("laptop_bert", "laptop_bert_mlm")


def layers_of(name):
    return analyze_model(name, 2, 8)[0]


@pytest.mark.parametrize("name", SMALL)
@settings(max_examples=10)
@given(st.data())
def test_exact_flops_equal_torch_counter_at_any_length(name, data):
    layers = layers_of(name)
    body = len(layers) - 1
    frozen = frozenset(range(data.draw(st.integers(0, body))))
    frozen |= data.draw(st.frozensets(st.integers(0, body - 1)))
    length, samples = data.draw(st.integers(2, 64)), data.draw(st.integers(1, 3))
    spent = analyze_model(name, 2, length)[1].exact(frozen) * samples
    inputs = make_texts(samples, seed=length, length=length)
    counted = count_by_torch(build(name, 2, 0, seed=0), layers, inputs, frozen)
    assert (spent.forward, spent.backward) == counted


@pytest.mark.parametrize("name", SMALL)
def test_layers_found_on_meta_device_equal_layers_of_the_model(name):
    model = build(name, 2, 0, seed=0)
    assert find_layers(model, make_texts(2)) == layers_of(name)
    # A weight with two names (a tied decoder) is in exactly one layer.
    owned = [id(model.get_parameter(p)) for layer in layers_of(name) for p in layer.parameters]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())


def test_mean_flops_times_samples_equals_the_sum_over_lengths():
    samples = {8: 96, 16: 31, 40: 5}
    batches = {8: 3, 16: 1, 40: 1}
    by_size = FlopsBySize(lambda size: analyze_model("laptop_bert", 2, size)[1], samples, batches)
    for frozen in (frozenset(), frozenset(range(7)), frozenset({0, 3, 20})):
        for convention in ("paper", "exact"):
            each = [getattr(by_size.at(size), convention)(frozen).total for size in samples]
            whole = sum(f * n for f, n in zip(each, samples.values(), strict=True))
            mean = getattr(by_size.mean, convention)(frozen).total
            assert mean * sum(samples.values()) == pytest.approx(whole, rel=1e-12)


@settings(max_examples=8)
@given(st.integers(2, 40), st.integers(1, 4), st.frozensets(st.integers(0, 27)))
def test_measured_saved_bytes_equal_prediction_at_any_length(length, samples, frozen):
    model, layers = build("laptop_bert", 2, 0, seed=0), layers_of("laptop_bert")
    inputs = make_texts(samples, seed=1, length=length)
    expected = predict_saved_bytes(model, layers, inputs).count_bytes(frozen, samples)
    Freezer(model, torch.optim.SGD(model.parameters()), layers).freeze(frozen)
    with SavedBytes(model.train()) as saved:
        logits = get_logits(model(*inputs))
    assert saved.bytes == expected
    del logits


@settings(max_examples=10)
@given(st.integers(2, 20), st.integers(1, 40), st.integers(0, 100))
def test_padding_does_not_change_logits(length, more, seed):
    model = build("laptop_bert", 2, 0, seed=0).eval()
    ids, real, segments = make_texts(3, seed=seed, length=length)
    padded = (F.pad(ids, (0, more)), F.pad(real, (0, more)), F.pad(segments, (0, more)))
    with torch.no_grad():
        alone, among = (get_logits(model(*x)) for x in ((ids, real, segments), padded))
    torch.testing.assert_close(alone, among, atol=1e-5, rtol=1e-5)


def test_mask_of_real_tokens_equals_mask_built_by_transformers():
    model = build("laptop_bert", 2, 0, seed=0).eval()
    ids, real, segments = make_texts(4, seed=3, length=12)
    with torch.no_grad():
        ours = model(ids, real, segments).logits
        theirs = model(ids, real[:, 0, 0].long(), segments).logits
    torch.testing.assert_close(ours, theirs)


def checkpoint(model, old_names):
    """Return the tensors of a classifier in the form of a pretraining checkpoint."""
    state = {k: v.clone() for k, v in model.state_dict().items() if "classifier" not in k}
    if old_names:
        state = {
            k.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): v
            for k, v in state.items()
        }
        state["bert.embeddings.position_ids"] = torch.arange(64)[None]
    state["cls.predictions.bias"] = torch.zeros(5)
    return state


@pytest.mark.parametrize("old_names", [False, True])
@pytest.mark.parametrize("bare", [False, True])
def test_pretraining_checkpoint_loads_with_old_and_bare_names(tmp_path, old_names, bare):
    source, model = (build("laptop_bert", 2, 0, seed=seed) for seed in (1, 2))
    state = checkpoint(source, old_names)
    if bare:
        state = {k.removeprefix("bert."): v for k, v in state.items() if not k.startswith("cls.")}
    save_file(state, tmp_path / "model.safetensors")
    head = model.classifier.weight.clone()
    load_backbone(model, tmp_path / "model.safetensors", head="classifier", name="laptop_bert")
    own, given = model.state_dict(), source.state_dict()
    assert all(torch.equal(own[k], given[k]) for k in own if not k.startswith("classifier"))
    assert torch.equal(model.classifier.weight, head)


def test_checkpoint_without_a_block_raises(tmp_path):
    model = build("laptop_bert", 2, 0, seed=0)
    state = {k: v for k, v in checkpoint(model, False).items() if ".layer.3." not in k}
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"lacks 16 tensors: bert\.encoder\.layer\.3"):
        load_backbone(model, tmp_path / "model.safetensors", head="classifier", name="laptop_bert")


def test_renaming_weights_does_not_copy_tensors():
    tensor = torch.ones(3)
    assert (
        list_text_models()["laptop_bert"].rename_weights({"bert.x.LayerNorm.gamma": tensor})[
            "bert.x.LayerNorm.weight"
        ]
        is tensor
    )
