"""Tests of hf: models: FLOPs, masks, padding, files and families that are refused."""

import copy
import json
import random
import re
from functools import cache

import pytest
import torch
from torch import nn

from bench.batches.texts import make_text_batches
from bench.costs.flops import count_flops
from bench.data.texts.dataset import TextSample
from bench.errors import UserError
from bench.layers.activations import compute_layer_outputs, get_logits
from bench.layers.discovery import find_layers
from bench.models.anatomy import analyze_model
from bench.models.catalogue import build
from bench.models.texts.catalogue import find_text_model
from bench.models.texts.checkpointed_blocks import checkpoint_blocks
from bench.models.texts.hub_files import INDEX, WEIGHTS, list_weight_files
from bench.models.texts.hub_model import load_hub_model
from bench.models.texts.tokenizer import tokenize
from bench.spec import Spec
from tests.support.counted_by_torch import count_by_torch
from tests.support.hub_folders import DECODERS, FAMILIES, SIZE, make_hub_folder
from tests.support.text_tables import make_rows, write_table

LENGTH = 24  # longer than the window of the small ModernBERT


@pytest.fixture(scope="module")
def name_of(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("models")
    return cache(lambda family: f"hf:{make_hub_folder(root / family, family)}")


def make_padded(name: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids, mask and segments of three padded texts of different lengths.

    Shapes: (3, LENGTH), (3, 1, 1, LENGTH) and (3, LENGTH).
    """
    padding = find_text_model(name).tokenizer.pad_token_id
    ids = torch.randint(5, 170, (3, LENGTH), generator=torch.Generator().manual_seed(0))
    real = torch.arange(LENGTH) < torch.tensor([LENGTH, 9, 17])[:, None]
    return ids.masked_fill(~real, padding), real[:, None, None], torch.zeros_like(ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_exact_flops_equal_torch_counter(family, name_of):
    name = name_of(family)
    draw = random.Random(family)
    for again in (False, True):
        layers, flops = analyze_model(name, 3, LENGTH, checkpointing=again)
        # DeBERTa projects its table of relative positions once per batch.
        assert flops.has_costs_per_batch == (family == "deberta-v2")
        body = len(layers) - 1
        for count in (0, 3, body - 1, body):
            frozen = frozenset(draw.sample(range(body), count))
            model = build(name, 3, 0, seed=0)
            if again:
                checkpoint_blocks(model, name)
            spent = flops.sum_batches("exact", frozen, samples=3, batches=1)
            counted = count_by_torch(model, layers, make_padded(name), frozen)
            assert (spent.forward, spent.backward) == counted, (again, sorted(frozen))


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_blocks_and_head(family, name_of):
    layers, _ = analyze_model(name_of(family), 3, LENGTH)
    model = build(name_of(family), 3, 0, seed=0)
    owned = sorted(p for layer in layers for p in layer.parameters)
    assert owned == sorted(name for name, _ in model.named_parameters())
    assert layers[-1].block == (3 if family == "modernbert" else 2)
    base = f"{model.base_model_prefix}."
    outside = {name for name, _ in model.named_parameters() if not name.startswith(base)}
    assert outside <= set(layers[-1].parameters)
    outputs = compute_layer_outputs(model, layers, make_padded(name_of(family)))
    assert len(outputs) == len(layers)


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_equal_those_of_transformers(family, name_of):
    from transformers import AutoModelForSequenceClassification

    name = name_of(family)
    model = build(name, 3, 0, seed=0).eval()
    ids, real, segments = make_padded(name)
    plain = AutoModelForSequenceClassification.from_config(model.config).eval()
    plain.load_state_dict(model.state_dict())
    with torch.no_grad():
        ours = get_logits(model(ids, real, segments))
        theirs = plain(input_ids=ids, attention_mask=real[:, 0, 0].long()).logits
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("family", DECODERS)
def test_a_decoder_classifies_by_the_last_token_of_the_text(family, name_of):
    name = name_of(family)
    model = find_text_model(name)
    # The folders have no padding token, and their tokenizer pads on the left.
    assert model.config.pad_token_id == model.tokenizer.pad_token_id == 0
    net = build(name, 3, 0, seed=0).eval()
    ids, real, segments = make_padded(name)
    with torch.no_grad():
        before = get_logits(net(ids, real, segments))
        for row, length in enumerate(real[:, 0, 0].sum(1).tolist()):
            changed = ids.clone()
            changed[row, length - 1] = 171
            after = get_logits(net(changed, real, segments))
            assert not torch.allclose(before[row], after[row])
    assert not net.config.use_cache


def test_the_padding_token_ends_no_text(tmp_path):
    folder = make_hub_folder(tmp_path, "gpt2")
    state = json.loads((folder / "tokenizer.json").read_text())
    end = {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}
    state["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, end],
        "pair": [*({"Sequence": {"id": part, "type_id": 0}} for part in "AB"), end],
        "special_tokens": {
            "<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(state))
    model = find_text_model(f"hf:{folder}")
    assert model.tokenizer("many")["input_ids"][-1] == 0
    assert model.config.pad_token_id == 1


def test_two_texts_of_a_decoder_are_separated(name_of):
    tokenizer = find_text_model(name_of("gpt2")).tokenizer
    tokens = tokenize(tokenizer, [TextSample("many robbers", "some robbers")], 64, "mine")
    assert tokenizer.decode(tokens.ids[0, : tokens.lengths[0]]) == "many robbers\nsome robbers"


def test_lengths_stop_at_the_last_position(tmp_path):
    folder = make_hub_folder(tmp_path / "m", "roberta", max_position_embeddings=14)
    assert find_text_model(f"hf:{folder}").positions == 13  # position 0 is padding
    table = write_table(tmp_path / "t.csv", make_rows(40, words=30))
    spec = Spec(model=f"hf:{folder}", data=f"texts:{table}", batch_size=8)
    batches, classes = make_text_batches(spec, "test", torch.device("cpu"))
    model = build(spec.model, classes, 0, seed=0)
    for step in range(batches.steps_per_epoch):
        inputs, _ = batches.batch(step)
        assert inputs[0].shape[1] in (8, 13)
        model(*inputs)


class OncePerBatch(nn.Module):
    """Model that projects a table once per batch, and multiplies buffers outside of autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(6, 4)
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.register_buffer("angles", torch.randn(6, 6))

    def forward(self, x):
        projected = self.first(self.table.weight)  # (6, 4)
        scores = self.first(x) @ projected.t()  # (B, 5, 6)
        return self.second((scores @ (self.angles @ self.angles) @ projected).mean(1))


def test_work_once_per_batch_is_counted_once():
    model, inputs = OncePerBatch(), (torch.randn(1, 5, 4),)
    layers = find_layers(model, inputs)
    flops = count_flops(model, layers, inputs)
    assert flops.has_costs_per_batch
    for frozen in map(frozenset, ([], [0], [1], [0, 1])):
        for samples in (1, 4):
            spent = flops.sum_batches("exact", frozen, samples, 1)
            batch = (torch.randn(samples, 5, 4),)
            counted = count_by_torch(copy.deepcopy(model), layers, batch, frozen)
            assert (spent.forward, spent.backward) == counted
            shared = flops.with_batch(samples).exact(frozen)
            assert shared.total * samples == pytest.approx(spent.total)


ODD = {
    "fnet": ({}, r"cannot count the FLOPs of these operators: aten::fft_fftn"),
    "mixtral": ({"num_key_value_heads": 2}, r"these operators: aten::_grouped_mm"),
    "opt": (
        {"ffn_dim": 64, "word_embed_proj_dim": SIZE},
        r"OPTForSequenceClassification fails at aten\.\S+ when it is traced without data",
    ),
    "bloom": ({"n_layer": 1, "n_head": 4}, r"Bloom\w+ fails at aten\.\S+ .* with the mask of a"),
    "bart": ({"d_model": SIZE, "vocab_size": 500}, "is an encoder with a decoder"),
    "mamba": ({}, "no sequence classifier of type mamba"),
}


@pytest.mark.parametrize("family", ODD)
def test_other_families_are_refused_by_one_line(tmp_path, family):
    changes, message = ODD[family]
    folder = make_hub_folder(tmp_path / family, family, **changes)
    with pytest.raises(UserError, match=message) as caught:
        analyze_model(f"hf:{folder}", 3, 16)
    assert "\n" not in str(caught.value)


def test_a_family_whose_logits_depend_on_padding_is_refused(tmp_path, monkeypatch):
    name = f"hf:{make_hub_folder(tmp_path, 'llama')}"
    build(name, 2, 0, seed=0)
    # Without the causal part, a token would see the padding-free future.
    monkeypatch.setattr("bench.models.texts.hub_inputs.is_causal", lambda _: False)
    with pytest.raises(UserError, match="other logits for a padded text"):
        build(name, 2, 0, seed=0)


def remove(file):
    return lambda folder: (folder / file).unlink()


FAULTS = [
    (remove("config.json"), r"has no config\.json; put it there"),
    (lambda f: [p.unlink() for p in f.glob("token*")], r"has no tokenizer; put the model's tok"),
    (lambda f: (f / "config.json").write_text("{}"), r"cannot read .*config\.json"),
    (lambda f: (f / "tokenizer.json").write_text("{"), "cannot read the tokenizer in"),
]


@pytest.mark.parametrize(("break_folder", "message"), FAULTS)
def test_faulty_folders_are_refused_by_one_line(tmp_path, break_folder, message):
    folder = make_hub_folder(tmp_path / "model", "bert")
    break_folder(folder)
    with pytest.raises(UserError, match=message) as caught:
        build(f"hf:{folder}", 2, 0, seed=0)
    assert "\n" not in str(caught.value)
    assert re.search(r"hf:\S+model", str(caught.value))


def test_an_index_that_names_no_weights_is_refused(tmp_path):
    for content in ("[1]", "{}", '{"weight_map": 3}', "{"):
        (tmp_path / INDEX).write_text(content)
        with pytest.raises(UserError, match=r"index\.json does not name the files of the weights"):
            list_weight_files(tmp_path, "hf:m")
    (tmp_path / INDEX).unlink()
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        list_weight_files(tmp_path, "hf:m")


def test_weights_of_another_shape_than_the_configuration_are_refused(tmp_path):
    folder = make_hub_folder(tmp_path / "m", "bert")
    find_text_model(f"hf:{folder}").build(2).save_pretrained(tmp_path / "weights")
    (tmp_path / "weights" / WEIGHTS).rename(folder / WEIGHTS)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 20}))
    load_hub_model.cache_clear()
    with pytest.raises(UserError, match=r"position_embeddings\.weight has shape .* but \(20, "):
        load_hub_model(f"hf:{folder}").read_published()


def test_code_that_comes_with_a_model_is_never_run(tmp_path, monkeypatch):
    """Answer "y" if transformers asks, as on a terminal, whether it may run the code."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    folder = make_hub_folder(tmp_path / "m", "bert")
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n"
    (folder / "own_code.py").write_text(code)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own_code.Own"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"cannot read .*config\.json"):
        build(f"hf:{folder}", 2, 0, seed=0)
    assert not (tmp_path / "ran").exists()


def test_a_model_that_cannot_be_downloaded_names_the_way_out():
    wanted = (
        r"cannot download hf:no-such-owner/no-such-model .* is no folder no-such-owner/no-\S+; put"
    )
    with pytest.raises(UserError, match=wanted):
        find_text_model("hf:no-such-owner/no-such-model")


def test_a_token_without_embedding_is_refused(tmp_path):
    folder = make_hub_folder(tmp_path / "m", "gpt2", vocab_size=300)
    table = write_table(tmp_path / "t.csv", make_rows(40))
    spec = Spec(model=f"hf:{folder}", data=f"texts:{table}")
    with pytest.raises(UserError, match="but the model has 300 embeddings"):
        make_text_batches(spec, "test", torch.device("cpu"))
