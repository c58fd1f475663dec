"""Tests of the files of `hf:` models, which give weights, padding token, positions and hashes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bench.data.texts.dataset import TextSample
from bench.errors import UserError
from bench.files import hash_file
from bench.models.catalogue import build
from bench.models.texts.catalogue import find_text_model
from bench.models.texts.checkpointed_blocks import checkpoint_blocks
from bench.models.texts.hub_files import (
    TOKENIZER,
    WEIGHTS,
    hash_files,
    list_tokenizer_files,
    list_weight_files,
)
from bench.models.texts.hub_model import load_hub_model
from bench.models.texts.tokenizer import tokenize
from bench.models.weights.loading import load_backbone
from tests.support.hub_folders import _list_words, make_hub_folder


def change_json(file: Path, **values: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def save_weights(folder: Path, kind: str) -> Path:
    """Save random weights of the transformers class `kind`, and return their file."""
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(transformers, kind).from_config(config)
    save_file({k: v.clone() for k, v in model.state_dict().items()}, folder / WEIGHTS)
    return folder / WEIGHTS


@pytest.mark.parametrize(("family", "size"), [("bert", "num_hidden_layers"), ("gpt2", "n_layer")])
@pytest.mark.parametrize("kind", ["AutoModelForSequenceClassification", "AutoModel"])
def test_weights_without_a_place_in_the_model_are_refused(tmp_path, family, size, kind):
    folder = make_hub_folder(tmp_path / "m", family)
    file = save_weights(folder, kind)
    change_json(folder / "config.json", **{size: 1})
    name = f"hf:{folder}"
    with pytest.raises(UserError, match=r"contain \S+1\S* \(one of 1\d such tensors\), but"):
        load_hub_model(name).read_published()
    model = build(name, 2, 0, seed=0)
    with pytest.raises(UserError, match=r"has 1\d tensors: .*, not found in hf:"):
        load_backbone(model, file, head=("classifier", "score"), name=name)


@pytest.mark.parametrize(
    ("family", "kind"),
    [
        ("roberta", "AutoModel"),  # has a pooler, which the classifier lacks
        ("roberta", "AutoModelForMaskedLM"),
        ("distilbert", "AutoModelForMaskedLM"),
        ("llama", "AutoModelForCausalLM"),
    ],
)
def test_parts_for_other_tasks_and_old_buffers_are_left_out(tmp_path, family, kind):
    folder = make_hub_folder(tmp_path / "m", family)
    file = save_weights(folder, kind)
    first = next(iter(load_file(file))).partition(".")[0]
    save_file({**load_file(file), f"{first}.position_ids": torch.zeros(1, 64)}, file)
    model = build(f"hf:{folder}", 2, 0, seed=0)
    heads = load_hub_model(f"hf:{folder}").list_new_parts(model)
    loaded = {
        load_backbone(model, source, head=heads, name=f"hf:{folder}").loaded
        for source in ("pretrained", file)
    }
    base = f"{model.base_model_prefix}."
    assert loaded == {tuple(sorted(key for key in model.state_dict() if key.startswith(base)))}


def make_plain_bytes(folder: Path) -> Path:
    """Make a GPT-2 whose tokenizer knows no special token, and return its folder."""
    make_hub_folder(folder, "gpt2")
    change_json(folder / "tokenizer_config.json", eos_token=None, bos_token=None, unk_token=None)
    state = json.loads((folder / "tokenizer.json").read_text())
    change_json(folder / "tokenizer.json", **{**state, "added_tokens": []})
    change_json(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    return folder


def test_a_tokenizer_without_special_tokens_is_refused(tmp_path):
    folder = make_plain_bytes(tmp_path / "m")
    with pytest.raises(UserError, match=r"no padding token, .* as pad_token in tokenizer_config"):
        find_text_model(f"hf:{folder}")


def test_the_padding_token_of_a_decoder_is_a_special_token(tmp_path):
    # Token 5 of the vocabulary is a character of texts.
    folder = make_hub_folder(tmp_path, "llama", pad_token_id=5)
    assert find_text_model(f"hf:{folder}").tokenizer.pad_token_id == 0


@pytest.mark.parametrize(
    ("family", "shape", "positions"),
    [
        ("xlnet", {"d_model": 32, "n_layer": 1, "n_head": 4, "d_inner": 64}, 512),
        ("perceiver", {"num_latents": 4, "d_latents": 32, "d_model": 32}, 64),
    ],
)
def test_configurations_without_a_limit_or_a_padding_token_are_read(
    tmp_path, family, shape, positions
):
    folder = make_hub_folder(tmp_path, "bert")
    config = {"model_type": family, "vocab_size": 600, "max_position_embeddings": 64, **shape}
    if family == "xlnet":
        del config["max_position_embeddings"]
    (folder / "config.json").write_text(json.dumps(config))
    model = find_text_model(f"hf:{folder}")
    assert model.positions == positions
    assert model.config.pad_token_id == model.tokenizer.pad_token_id


def test_models_whose_blocks_cannot_be_checkpointed_are_named(tmp_path):
    folder = make_hub_folder(tmp_path, "albert", embedding_size=16, pad_token_id=0)
    model = build(f"hf:{folder}", 2, 0, seed=0)
    with pytest.raises(UserError, match="AlbertForSequenceClassification has no blocks that"):
        checkpoint_blocks(model, "hf:m")


def test_every_file_that_the_tokenizer_reads_is_hashed(tmp_path):
    folder = make_hub_folder(tmp_path, "roberta")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    (folder / "vocab.txt").write_text("a 5\nb 3\n")
    change_json(folder / "config.json", tokenizer_class="PhobertTokenizer")
    hashes = set()
    for merges in ("a b 1\n", "b a 1\n"):
        (folder / "bpe.codes").write_text(merges)
        hashes.add(find_text_model(f"hf:{folder}").identify_files()["vocab"])
    assert len(hashes) == 2


def test_files_that_the_tokenizer_does_not_read_are_not_hashed(tmp_path):
    folder = make_hub_folder(tmp_path, "bert")
    for file in ("dict.txt", "sentencepiece.model", "tekken.json"):
        (folder / file).write_text("")
    read = [folder / file for file in TOKENIZER if (folder / file).is_file()]
    assert find_text_model(f"hf:{folder}").identify_files()["vocab"] == hash_files(read)
    assert len(list_tokenizer_files(folder, "hf:m")) == len(read) + 3


def test_a_model_file_that_cannot_be_read_names_both_libraries(tmp_path):
    folder = make_hub_folder(tmp_path, "llama")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    (folder / "tokenizer.model").write_text("no model")
    with pytest.raises(UserError, match="install sentencepiece` or `pip install tiktoken`"):
        find_text_model(f"hf:{folder}")


def add_words(folder: Path) -> Path:
    """Replace a decoder's tokenizer by a word tokenizer that pads with its unknown token."""
    from tokenizers import AddedToken
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    backend = _list_words()
    # The program looks for a padding token with this text.
    backend.add_tokens([AddedToken("a", single_word=True)])
    backend.post_processor = TemplateProcessing(single="[CLS] $A", special_tokens=[("[CLS]", 2)])
    words = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="[CLS]", unk_token="[UNK]", pad_token="[UNK]"
    )
    for file in folder.glob("token*"):
        file.unlink()
    words.save_pretrained(folder)
    return folder


def test_a_text_of_a_decoder_that_ends_in_the_padding_token_is_refused(tmp_path):
    words = add_words(make_hub_folder(tmp_path / "words", "llama"))
    bytes_ = make_hub_folder(tmp_path / "bytes", "gpt2")
    for folder, end in ((words, "nonsense"), (bytes_, "<|endoftext|>")):
        tokenizer = load_hub_model(f"hf:{folder}").tokenizer
        good = [TextSample(f"{end} {'doze boats hounds ' * 4}")] * 3
        tokenize(tokenizer, good, 64, "mine")
        for pair in ((f"doze {end}",), ("doze", f"boats {end}")):
            with pytest.raises(UserError, match=r"^mine: .* ends in the token .* pad_token_id in"):
                tokenize(tokenizer, [*good, TextSample(*pair)], 64, "mine")


def test_the_padding_token_in_a_text_of_an_encoder_is_harmless(tmp_path):
    name = f"hf:{make_hub_folder(tmp_path, 'bert')}"
    tokens = tokenize(load_hub_model(name).tokenizer, [TextSample("some [PAD]")], 64, "mine")
    assert tokens.ids[0].tolist()[-2:] == [0, 3]


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_settings_of_another_run_in_the_configuration_have_no_effect(tmp_path, family):
    plain = build(f"hf:{make_hub_folder(tmp_path / 'plain', family)}", 2, 0, seed=0)
    folder = make_hub_folder(tmp_path / "set", family)
    change_json(
        folder / "config.json",
        gradient_checkpointing=True,
        output_attentions=True,
        output_hidden_states=True,
        return_dict=False,
        chunk_size_feed_forward=5,
        use_cache=True,
        torch_dtype="bfloat16",
        torchscript=True,
        problem_type="multi_label_classification",
        id2label={"0": "a", "1": "b", "2": "c"},
    )
    model = build(f"hf:{folder}", 2, 0, seed=0)
    assert not any(getattr(part, "gradient_checkpointing", False) for part in model.modules())
    ids = torch.randint(5, 170, (2, 8), generator=torch.Generator().manual_seed(0))
    batch = (ids, torch.ones(2, 1, 1, 8, dtype=torch.bool), torch.zeros_like(ids))
    one, other = (net.eval()(*batch) for net in (plain, model))
    assert list(one) == list(other) == ["logits"]
    assert torch.equal(one.logits, other.logits)


def test_a_configuration_whose_settings_earlier_runs_used_has_another_hash(tmp_path):
    folder = make_hub_folder(tmp_path, "bert")
    config = folder / "config.json"
    for settings, same in (({"use_cache": True}, True), ({"output_attentions": True}, False)):
        change_json(config, **settings)
        found = find_text_model(f"hf:{folder}").identify_files()["model"]
        assert (found == hash_file(config)) is same


def test_a_pickle_in_the_folder_names_its_conversion(tmp_path):
    for file in ("pytorch_model.bin", "pytorch_model.bin.index.json"):
        (tmp_path / file).write_text("")
        with pytest.raises(
            UserError, match=rf"pytorch_model\.safetensors after .* {file} with: .*"
        ):
            list_weight_files(tmp_path, "hf:m")


def test_quantised_weights_are_refused(tmp_path):
    folder = make_hub_folder(tmp_path, "bert")
    change_json(folder / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    model = load_hub_model(f"hf:{folder}")
    model.build(2)  # random weights are not quantised
    for read in (model.identify_published, model.read_published):
        with pytest.raises(UserError, match=r"the weights are quantised \(bitsandbytes\), which"):
            read()


def test_an_attention_that_cannot_be_masked_is_refused(tmp_path):
    folder = make_hub_folder(tmp_path, "bert")
    change_json(folder / "config.json", attn_implementation="flex_attention")
    with pytest.raises(
        UserError, match=r"selects 'flex_attention' for attention, .*; remove attn_"
    ):
        load_hub_model(f"hf:{folder}")
