"""Tokenization of texts with the tokenizers of transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.data.texts.dataset import TextSample
from bench.errors import UserError, summarise_error
from bench.files import hash_file
from bench.models.texts.descriptor import TextModel
from bench.models.texts.hub_files import CONFIG
from bench.models.texts.hub_model import HubModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MOST_UNKNOWN = 0.25  # share of unknown tokens above which the vocabulary is wrong


@dataclass(frozen=True)
class Tokens:
    """Tokenized texts, padded to the longest text.

    ids, segments: int32 (N, L).
    lengths, labels: int64 (N,).
    padding: id of the padding token.
    """

    ids: Tensor
    segments: Tensor
    lengths: Tensor
    labels: Tensor
    padding: int = 0

    def to(self, device: torch.device) -> Tokens:
        """Return the tokens on a device; the lengths stay on the CPU, where batches are built."""
        return replace(
            self,
            ids=self.ids.to(device),
            segments=self.segments.to(device),
            labels=self.labels.to(device),
        )


def load_tokenizer(model: TextModel, vocabulary: Path | None) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a text model.

    vocabulary: path of BERT's vocab.txt, or None for the hub's file. A model with a vocabulary or
    tokenizer of its own ignores it. Raises UserError if the file is not a vocabulary or the
    download fails.
    """
    if isinstance(model, HubModel):
        return model.tokenizer
    from transformers import BertTokenizerFast
    from transformers.utils import logging

    logging.set_verbosity_error()  # hide warnings about missing weights and settings
    words: Sequence[str] = model.words
    if not words:
        path = vocabulary or _download_vocabulary(model)
        try:
            words = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(
                f"cannot read the vocabulary {path} ({error}); pass the vocab.txt of {model.name} "
                "as --vocab FILE"
            ) from None
        _check_vocabulary(words, str(path), model.name)
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, do_lower_case=True)


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[TextSample], longest: int, name: str
) -> Tokens:
    """Return texts as at most `longest` tokens each, including the tokenizer's special tokens.

    In a pair, the longer text is truncated first. If the tokenizer puts no special token between
    two texts (GPT-2), a line break separates them.
    name: the data set, for messages.
    Raises UserError if too many words are not in the vocabulary.
    Raises UserError if a text has no token, or ends in the padding token.
    """
    second = [text.second for text in texts] if any(text.second for text in texts) else None
    added = tokenizer.num_special_tokens_to_add
    if second and added(pair=True) <= added(pair=False):
        second = [f"\n{text}" for text in second]
    cut = tokenizer(
        [text.first for text in texts],
        second,
        truncation=True,
        max_length=longest,
        return_token_type_ids=True,
    )
    rows = list(zip(cut["input_ids"], cut["token_type_ids"], strict=True))
    lengths = torch.tensor([len(ids) for ids, _ in rows])
    if not lengths.all():
        empty = texts[int(lengths.argmin())].first
        raise UserError(f"{name}: the text {empty[:40]!r} has no token; remove it")
    ids = torch.full((len(rows), int(lengths.max())), tokenizer.pad_token_id, dtype=torch.int32)
    segments = torch.zeros_like(ids)
    for i, (tokens, kinds) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(tokens, dtype=torch.int32)
        segments[i, : len(tokens)] = torch.tensor(kinds, dtype=torch.int32)
    unknown = 0.0
    if tokenizer.unk_token_id is not None:  # tokenizers of bytes have none
        real = torch.arange(ids.shape[1]) < lengths[:, None]
        unknown = float((real & (ids == tokenizer.unk_token_id)).sum()) / float(lengths.sum())
    if unknown > MOST_UNKNOWN:
        raise UserError(
            f"{name}: {100 * unknown:.0f} % of its tokens are words or signs that the vocabulary "
            "lacks; use the vocabulary of the model, or another model"
        )
    ends = ids.gather(1, lengths[:, None] - 1)[:, 0] == tokenizer.pad_token_id
    if ends.any():
        # A decoder of transformers finds the end of a text by the padding token.
        token = tokenizer.pad_token
        wrong = texts[int(ends.int().argmax())]
        raise UserError(
            f"{name}: the text {(wrong.second or wrong.first)[:40]!r} ends in the token {token!r}, "
            "which is also the padding token, so the model would classify it by an earlier token; "
            f"correct the text, or set pad_token_id in {CONFIG} to another special token"
        )
    labels = torch.tensor([text.label for text in texts])
    return Tokens(ids, segments, lengths, labels, int(tokenizer.pad_token_id))


def _check_vocabulary(words: Sequence[str], path: str, model: str) -> None:
    missing = [word for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if word not in words]
    if missing or len(set(words)) != len(words):
        fault = f"lacks {', '.join(missing)}" if missing else "contains a word twice"
        raise UserError(f"vocabulary {path}: {fault}; pass the vocab.txt of {model}")


def _download_vocabulary(model: TextModel) -> Path:
    """Return the path of the published vocab.txt, downloaded if it is not in the local cache."""
    try:
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(model.hub, "vocab.txt"))
    except Exception as error:  # the hub has no common error class
        reason = summarise_error(error)
        raise UserError(
            f"cannot download the vocabulary of {model.name} ({reason}); pass --vocab FILE, or put "
            "its vocab.txt into the folder of the weights file"
        ) from None
    if hash_file(path) != model.vocabulary_hash:
        raise UserError(
            f"{path}: differs from the published vocabulary of {model.name}; pass --vocab FILE"
        )
    return path
