"""Files of a transformers model, in a local folder or in the cache of the Hugging Face hub."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.data.interface.descriptor import hash_parts
from bench.errors import UserError, summarise_error
from bench.files import expand_home, hash_file, read_json

CONFIG = "config.json"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spm.model",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
)
# Files that only a few tokenizers have. FOREIGN are the files of other tokenizer libraries. In
# transformers, the class of a tokenizer lists the others in vocab_files_names.
FOREIGN = ("tekken.json", "tiktoken.model")
RARE = (
    *FOREIGN,
    "bpe.codes",
    "byte_maps.json",
    "dict.txt",
    "emoji.json",
    "entity_vocab.json",
    "normalizer.json",
    "prophetnet.tokenizer",
    "sentencepiece.model",
    "source.spm",
    "spm_char.model",
    "target.spm",
    "target_vocab.json",
    "vocab-src.json",
    "vocab-tgt.json",
    "word_pronunciation.json",
    "word_shape.json",
)
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("pytorch_model.bin.index.json", "pytorch_model.bin")

# Without trust_remote_code=False, transformers asks on the terminal whether it may run code that
# comes with the model.
OFFLINE: Mapping[str, Any] = {"local_files_only": True, "trust_remote_code": False}
# Settings of a configuration that change what a run computes, saves or returns, and not the model.
# A run has its own settings, for example --checkpointing.
EXECUTION: Mapping[str, Any] = {
    "use_cache": False,  # a cache of keys and values is for generation only
    "gradient_checkpointing": False,
    "output_attentions": False,
    "output_hidden_states": False,
    "return_dict": True,
    "chunk_size_feed_forward": 0,
}
ATTENTION = ("eager", "sdpa")  # implementations that bench.models.texts.hub_inputs can mask


@lru_cache(maxsize=32)
def find_folder(name: str, *, with_weights: bool) -> Path:
    """Return the local folder of `hf:NAME`, downloaded if the hub's local cache lacks it.

    with_weights: whether the safetensors files are needed too.
    Raises UserError if the folder has no config.json, or if the download fails.
    """
    place = name.partition(":")[2]
    folder = expand_home(place)
    if not place:
        raise UserError(f"{name}: no model is given; write hf:NAME or hf:FOLDER")
    if not folder.is_dir():
        folder = _fetch(name, place, with_weights)
    if not (folder / CONFIG).is_file():
        raise UserError(
            f"{name}: {folder} has no {CONFIG}; put it there, with the tokenizer's files and "
            f"{WEIGHTS}"
        )
    return folder


def read_config(folder: Path, name: str) -> Any:
    """Return the configuration in a folder, with the settings of `EXECUTION`.

    Raises UserError if transformers cannot read it, or if it selects an attention that is not in
    `ATTENTION`.
    """
    from transformers import AutoConfig
    from transformers.utils import logging

    logging.set_verbosity_error()  # hide warnings about missing weights and settings
    try:
        config = AutoConfig.from_pretrained(folder, **OFFLINE)
    except Exception as error:  # the library has no common error class
        raise UserError(
            f"{name}: cannot read {folder / CONFIG} ({summarise_error(error)}); use the file of a "
            "model that transformers knows"
        ) from None
    if config._attn_implementation not in (None, *ATTENTION):
        raise UserError(
            f"{name}: {folder / CONFIG} selects {config._attn_implementation!r} for attention, "
            "which the benchmark cannot mask; remove attn_implementation there"
        )
    for key, value in EXECUTION.items():
        setattr(config, key, value)
    return config


def refuse_quantised(config: Any, name: str) -> None:
    """Raise UserError if a configuration says that the weights are quantised."""
    if quantised := getattr(config, "quantization_config", None):
        method = dict(quantised).get("quant_method", "unknown method")
        raise UserError(
            f"{name}: {CONFIG} says that the weights are quantised ({method}), which the benchmark "
            "does not support; use the model from which they were made"
        )


def list_tokenizer_files(folder: Path, name: str, rare: Iterable[str] = RARE) -> list[Path]:
    """Return the files of the tokenizer in a folder. Raises UserError if there are none.

    rare: names of further files that the tokenizer may read.
    """
    names = (*TOKENIZER, *sorted({*rare} - {*TOKENIZER}))
    found = [folder / file for file in names if (folder / file).is_file()]
    if not found:
        raise UserError(
            f"{name}: {folder} has no tokenizer; put the model's tokenizer.json there (or "
            "vocab.txt, vocab.json and merges.txt, or tokenizer.model)"
        )
    return found


def list_weight_files(folder: Path, name: str) -> list[Path]:
    """Return the safetensors files in a folder. Raises UserError if there are none."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    try:
        listed = (folder / INDEX).read_text()
    except OSError:
        raise UserError(f"{name}: {folder} has no {WEIGHTS}; {_advise_weights(folder)}") from None
    try:
        parts = set(json.loads(listed)["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{name}: {folder / INDEX} does not name the files of the weights; replace it by the "
            "model's own file"
        ) from None
    if missing := sorted(part for part in parts if not (folder / part).is_file()):
        raise UserError(f"{name}: {folder} lacks {missing[0]}, which {INDEX} names; put it there")
    return [folder / part for part in sorted(parts)]


def _advise_weights(folder: Path) -> str:
    """Return how to get safetensors, with the command that converts a pickle in the folder."""
    for pickle in PICKLES:
        if (folder / pickle).is_file():
            made = folder / "pytorch_model.safetensors"
            # bench.models.weights imports this folder, so its format_conversion is out of reach.
            words = (sys.executable or "python", "-P", "-m", "bench.models.weights.files")
            command = shlex.join((*words, str(folder / pickle)))
            return f"pass --weights {made} after you have converted {pickle} with: {command}"
    return "put it there, or pass --weights FILE.safetensors"


def hash_config(folder: Path) -> str:
    """Return a hash of config.json in a folder.

    Runs ignore the settings of `EXECUTION` in this file. Earlier versions ignored only `use_cache`.
    If the file gives others a value that differs from `EXECUTION`, the hash also covers the names
    of the ignored settings. Run ids then differ from earlier ones.
    """
    path = folder / CONFIG
    found = read_json(path, "replace it by the file of the model")
    ignored = [key for key, value in EXECUTION.items() if found.get(key, value) != value]
    if set(ignored) <= {"use_cache"}:  # it was ignored before
        return hash_file(path)
    return hash_parts(word.encode() for word in (hash_file(path), *ignored))


def hash_files(files: Sequence[Path]) -> str:
    """Return a hash of the names and contents of files."""
    return hash_parts(f"{file.name} {hash_file(file)}\n".encode() for file in files)


def _fetch(name: str, repository: str, with_weights: bool) -> Path:
    """Return the folder of a repository in the hub's local cache, downloaded if necessary."""
    from huggingface_hub import snapshot_download

    wanted = [
        CONFIG,
        *TOKENIZER,
        *RARE,
        *((WEIGHTS, INDEX, "model-*.safetensors") if with_weights else ()),
    ]
    needed = (CONFIG, WEIGHTS) if with_weights else (CONFIG,)
    reason = ""
    # A copy in the cache is used without asking the hub, so that a later change there does not
    # change runs, and a machine without a network can use it.
    for local in (True, False):
        try:
            folder = Path(
                snapshot_download(repository, allow_patterns=wanted, local_files_only=local)
            )
        except Exception as error:  # the library has no common error class
            reason = summarise_error(error)
            continue
        if not local or all((folder / f).is_file() for f in needed) or (folder / INDEX).is_file():
            return folder
    raise UserError(
        f"cannot download {name} ({reason}), and there is no folder "
        f"{expand_home(repository)}; put {CONFIG}, the tokenizer's files and {WEIGHTS} of "
        "the model into a folder, and give it as hf:FOLDER"
    )
