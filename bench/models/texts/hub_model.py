"""Classifiers of transformers by name: `hf:NAME` on the Hugging Face hub, or `hf:FOLDER`.

A folder, or a repository of the hub, holds config.json and the files of the tokenizer. For
`--weights pretrained`, it also holds safetensors files. Importing transformers takes seconds, so it
is imported only when a model of this kind is used.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UserError, summarise_error
from bench.models.texts.descriptor import TextModel
from bench.models.texts.hub_files import (
    CONFIG,
    FOREIGN,
    OFFLINE,
    TOKENIZER,
    find_folder,
    hash_config,
    hash_files,
    list_tokenizer_files,
    list_weight_files,
    read_config,
    refuse_quantised,
)
from bench.models.texts.hub_inputs import adapt_inputs
from bench.models.texts.padding_check import adapt_and_check

PREFIX = "hf:"
# Buffers in older files, which models no longer store.
OLD_BUFFERS = (
    "position_ids",
    "token_type_ids",
    "inv_freq",
    "cos_cached",
    "sin_cached",
    ".attn.bias",
    ".attn.masked_bias",
    ".attention.bias",
    ".attention.masked_bias",
)
# Parts of a base model that serve other tasks, so the base model of a classifier may lack them.
OTHER_TASKS = ("pooler", "decoder", "contact_head")


@dataclass(frozen=True)
class HubModel(TextModel):
    """Descriptor of a classifier of transformers.

    folder: local folder of its files.
    """

    folder: Path = Path()

    @cached_property
    def config(self) -> Any:
        """Configuration of the model; its padding token is that of `tokenizer`."""
        config = read_config(self.folder, self.name)
        config.pad_token_id = self.tokenizer.pad_token_id
        return config

    @cached_property
    def tokenizer(self) -> Any:
        """Tokenizer of the model, with a padding token that it never adds to the end of a text."""
        return _load_tokenizer(self.folder, self.name)

    def build(self, classes: int) -> nn.Module:
        """Return the model with random weights from torch's global random state.

        Raises UserError if padding changes the logits, or if transformers cannot build the model.
        """
        model = self._construct(classes)
        if model.device.type == "meta":
            return adapt_inputs(model, self.name)
        return adapt_and_check(model, self.name, self.positions)

    def _construct(self, classes: int) -> Any:
        from transformers import AutoModelForSequenceClassification

        config = copy.deepcopy(self.config)
        config.num_labels = classes
        try:
            # The type in the configuration is that of the file; runs choose their own precision.
            return AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
        except Exception as error:  # each family raises errors of its own
            reason = summarise_error(error)
            if "for this kind of AutoModel" in str(error):
                reason = f"transformers has no sequence classifier of type {config.model_type}"
            raise UserError(
                f"{self.name}: cannot build the model ({reason}); use another model"
            ) from None

    def rename_weights(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a checkpoint with the tensor names of a classifier.

        Pretraining heads are dropped. If the names lack the prefix of the base model, it is added.
        A tensor that looks like one of the base model is kept even if the base model has no place
        for it. Loading the tensor then raises an error.
        """
        model, _ = self.sketch(2, 8)
        own, prefix = model.state_dict().keys(), f"{model.base_model_prefix}."
        found = {}
        for key, value in tensors.items():
            name = key.replace("LayerNorm.gamma", "LayerNorm.weight")
            name = name.replace("LayerNorm.beta", "LayerNorm.bias")
            in_base = _is_in_base(name, model)
            if name not in own and (prefix + name in own or in_base):
                name = prefix + name.removeprefix(prefix)
            if name in own or in_base:
                found[name] = value
        return found

    def check_tokens(self, largest: int) -> None:
        """Raise UserError if the model has no embedding for the largest token id of a data set."""
        if largest >= self.config.vocab_size:
            raise UserError(
                f"{self.name}: its tokenizer gives the token id {largest:,}, but the model has "
                f"{self.config.vocab_size:,} embeddings; use the tokenizer of the model"
            )

    def list_new_parts(self, model: nn.Module) -> tuple[str, ...]:
        """Return the modules outside of the base model; pretraining files may lack them."""
        base = str(model.base_model_prefix)
        return tuple(name for name, _ in model.named_children() if name != base)

    def read_published(self) -> Mapping[str, Tensor]:
        """Return the tensors of the safetensors files, as transformers renames them.

        Raises UserError if the weights are quantised. Raises UserError if a tensor of the base
        model contradicts config.json in its shape, or has no place in the model of config.json.
        """
        from transformers import AutoModelForSequenceClassification

        refuse_quantised(self.config, self.name)
        folder = find_folder(self.name, with_weights=True)
        with torch.random.fork_rng(devices=[]):
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder,
                config=copy.deepcopy(self.config),
                dtype=torch.float32,
                use_safetensors=True,  # a pickle can execute any code
                **OFFLINE,
                ignore_mismatched_sizes=True,  # a head for another number of classes
                output_loading_info=True,
            )
        for key, given, own in report["mismatched_keys"]:
            if key.startswith(f"{model.base_model_prefix}."):
                raise UserError(
                    f"{self.name}: {key} has shape {tuple(given)} in the weights, but {tuple(own)} "
                    f"by {CONFIG}; use the {CONFIG} that belongs to the weights"
                )
        if lost := sorted(key for key in report["unexpected_keys"] if _is_in_base(key, model)):
            more = f" (one of {len(lost)} such tensors)" if len(lost) > 1 else ""
            raise UserError(
                f"{self.name}: the weights contain {lost[0]}{more}, but the model of {CONFIG} does "
                f"not; use the {CONFIG} that belongs to the weights"
            )
        # transformers fills in random values for these tensors.
        absent = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
        return {k: v for k, v in model.state_dict().items() if k not in absent}

    def identify_published(self) -> str:
        """Return a hash of the safetensors files, downloaded if they are not in the local cache.

        Raises UserError if config.json says that the weights are quantised.
        """
        refuse_quantised(self.config, self.name)
        return hash_files(list_weight_files(find_folder(self.name, with_weights=True), self.name))

    def identify_files(self) -> dict[str, str]:
        """Return the hash of config.json, and a hash of the tokenizer's files, by role."""
        files = list_tokenizer_files(self.folder, self.name, self._list_rare_files())
        return {"model": hash_config(self.folder), "vocab": hash_files(files)}

    def _list_rare_files(self) -> tuple[str, ...]:
        """Return the names of further files that the tokenizer reads.

        A tokenizer of the `tokenizers` library reads no further files if there is a tokenizer.json.
        """
        if self.tokenizer.is_fast and (self.folder / TOKENIZER[0]).is_file():
            return ()
        return (*FOREIGN, *self.tokenizer.vocab_files_names.values())


@lru_cache(maxsize=16)
def load_hub_model(name: str) -> HubModel:
    """Return the descriptor of `hf:NAME` or `hf:FOLDER`.

    Raises UserError if its files are missing and cannot be downloaded, or cannot be read.
    """
    folder = find_folder(name, with_weights=False)
    model = HubModel(name, "classifier of transformers", folder=folder)
    return HubModel(name, model.summary, positions=_count_positions(model), folder=folder)


def _count_positions(model: HubModel) -> int:
    """Return the length of the longest text, in tokens.

    RoBERTa numbers positions from the id of its padding token + 1, so it never uses the first ones.
    """
    declared = getattr(model.config, "max_position_embeddings", None) or 0
    if declared <= 0:  # XLNet has no limit and says -1
        declared = model.positions
    with torch.device("meta"):
        net = model._construct(2)
    unused = {
        table.padding_idx + 1
        for name, table in net.named_modules()
        if isinstance(table, nn.Embedding) and table.padding_idx is not None
        if table.num_embeddings == declared and "position" in name
    }
    return int(declared) - max(unused, default=0)


def _is_in_base(key: str, model: Any) -> bool:
    """Return whether a tensor of a file is a weight of the base model, judged by its name.

    The names of a bare model lack the prefix of the base model.
    """
    prefix = f"{model.base_model_prefix}."
    part = key.removeprefix(prefix).partition(".")[0]
    known = part in dict(model.base_model.named_children())
    named = known or (key.startswith(prefix) and part not in OTHER_TASKS)
    return named and not key.endswith(OLD_BUFFERS)


@lru_cache(maxsize=16)
def _load_tokenizer(folder: Path, name: str) -> Any:
    from transformers import AutoTokenizer

    config = read_config(folder, name)
    list_tokenizer_files(folder, name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **OFFLINE)
    except Exception as error:  # the library has no common error class
        raise UserError(
            f"{name}: cannot read the tokenizer in {folder} ({summarise_error(error)}); put its "
            "tokenizer.json there, or install the library of its .model file: `pip install "
            "sentencepiece` or `pip install tiktoken`"
        ) from None
    pad = _choose_padding(tokenizer, config, f"{name}: the tokenizer in {folder}")
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(pad)
    return tokenizer


def _choose_padding(tokenizer: Any, config: Any, label: str) -> int:
    """Return the id of the padding token.

    A decoder classifies by the last token that is not padding, so the padding token must not end a
    text. GPT-2 and Llama have no padding token. Padding is masked, so another special token can
    serve as padding. If the tokenizer adds a token after each text, any token but the added one can
    serve.
    label: the tokenizer, for messages. Raises UserError if no token can be padding.
    """
    last = tokenizer("a")["input_ids"][-1:]
    added = [
        tokenizer(*texts, return_special_tokens_mask=True)["special_tokens_mask"][-1:] == [1]
        for texts in (("a",), ("a", "a"))
    ]
    special = {*tokenizer.all_special_ids}
    special |= {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    tokens = range(min(len(tokenizer), config.vocab_size))
    allowed = [i for i in tokens if i not in last and (all(added) or i in special)]
    if not allowed:
        raise UserError(
            f"{label} has no padding token, and no other special token that can replace it; name "
            "a token that no text contains as pad_token in tokenizer_config.json"
        )
    wishes: tuple[int | None, ...] = (
        getattr(config, "pad_token_id", None),
        tokenizer.pad_token_id,
        tokenizer.eos_token_id,
        tokenizer.unk_token_id,
        tokenizer.bos_token_id,
    )
    known = [i for i in wishes if i in allowed]
    return known[0] if known else allowed[0]
