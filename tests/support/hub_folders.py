"""Folders of tiny random transformers models with tokenizers of small vocabularies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.data.texts.grammar.words import build_vocabulary

SIZE = 32
SHAPE = {
    "hidden_size": SIZE,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
GROUPED = {**SHAPE, "num_key_value_heads": 2}
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # the first words of the vocabulary
# Configurations by type of model. Decoders have no padding token, as their published models.
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {**SHAPE, "pad_token_id": 0},
    # RoBERTa's first position is the id of its padding token + 1.
    "roberta": {**SHAPE, "max_position_embeddings": 65, "type_vocab_size": 1, "pad_token_id": 0},
    "distilbert": {
        "dim": SIZE,
        "n_layers": 2,
        "n_heads": 4,
        "hidden_dim": 64,
        "max_position_embeddings": 64,
        "pad_token_id": 0,
    },
    "deberta-v2": {
        **SHAPE,
        "relative_attention": True,
        "position_buckets": 16,
        "max_relative_positions": -1,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "type_vocab_size": 0,
        "pooler_hidden_size": SIZE,
        "pad_token_id": 0,
    },
    "modernbert": {
        **SHAPE,
        "num_hidden_layers": 3,
        "global_attn_every_n_layers": 3,
        "local_attention": 16,
        "classifier_pooling": "mean",
        "pad_token_id": 0,
    },
    "gpt2": {"n_embd": SIZE, "n_layer": 2, "n_head": 4, "n_positions": 64},
    "llama": GROUPED,
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 8},
}
DECODERS = ("gpt2", "llama", "qwen2", "qwen3")


def make_hub_folder(folder: Path, family: str, **changes: Any) -> Path:
    """Write config.json and the tokenizer of a tiny model into a folder, and return the folder."""
    from transformers import AutoConfig

    tokenizer = build_tokenizer(decoder=family in DECODERS)
    last = {"bos_token_id": 2, "eos_token_id": 3}
    values = {"vocab_size": len(tokenizer), **last, **FAMILIES[family], **changes}
    AutoConfig.for_model(family, **values).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build_tokenizer(decoder: bool, words: Sequence[str] = build_vocabulary()) -> Any:
    """Return a tokenizer of the grammar's words.

    For an encoder, it adds special tokens around the texts. For a decoder, it adds none and has no
    padding token.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if decoder:
        return PreTrainedTokenizerFast(
            tokenizer_object=backend, eos_token="[SEP]", padding_side="left"
        )
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, **{f"{name}_token": token for name, token in names}
    )
