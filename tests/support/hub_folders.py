"""Folders of tiny random transformers models with tokenizers of small vocabularies."""

from __future__ import annotations

from functools import cache
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
    """Write config.json and the tokenizer of a tiny model into a folder, and return the folder.

    changes: settings that differ from those in FAMILIES, or from SHAPE for any other family.
    """
    from transformers import AutoConfig

    tokenizer = build_tokenizer(decoder=family in DECODERS)
    ends = {"bos_token_id": 0, "eos_token_id": 0} if family in DECODERS else {}
    values = {"vocab_size": len(tokenizer), **ends, **FAMILIES.get(family, SHAPE), **changes}
    AutoConfig.for_model(family, **values).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def build_tokenizer(decoder: bool) -> Any:
    """Return a tokenizer of the grammar's words.

    For an encoder, it adds special tokens around the texts. For a decoder, it adds none and has no
    padding token.
    """
    from transformers import PreTrainedTokenizerFast

    if decoder:
        return PreTrainedTokenizerFast(
            tokenizer_object=_train_bytes(), eos_token="<|endoftext|>", padding_side="left"
        )
    names = zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=_list_words(), **{f"{name}_token": token for name, token in names}
    )


def _list_words() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = {word: i for i, word in enumerate(build_vocabulary())}
    backend = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return backend


@cache
def _train_bytes() -> Any:
    """Return a byte-level BPE tokenizer, like those of GPT-2, Llama 3 and Qwen, for the words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator([f" {word}" for word in build_vocabulary()], trainer)
    return backend
