"""From texts to tokens: BERT's word pieces, by transformers' own tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.data.texts.dataset import TextSample
from bench.errors import UserError
from bench.files import hash_file
from bench.models.texts.descriptor import TextModel

if TYPE_CHECKING:
    from transformers import BertTokenizerFast

MOST_UNKNOWN = 0.25  # share of words unknown to a vocabulary that is surely the wrong one


@dataclass(frozen=True)
class Tokens:
    """Texts as tokens, padded to the longest: ids, segments int32 (N, L); lengths, labels int64."""

    ids: Tensor
    segments: Tensor
    lengths: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Tokens:
        """The same on a device; the lengths stay on the CPU, where batches are put together."""
        return Tokens(
            self.ids.to(device), self.segments.to(device), self.lengths, self.labels.to(device)
        )


def load_tokenizer(model: TextModel, vocabulary: Path | None) -> BertTokenizerFast:
    """Return the tokenizer of a model of texts.

    vocabulary: its vocab.txt; None for the model's own, or the hub's. Raises UserError for a file
    that is no vocabulary of this model, and where the hub cannot be reached.
    """
    from transformers import BertTokenizerFast
    from transformers.utils import logging

    logging.set_verbosity_error()  # not a word that a file holds no weights or settings
    words: Sequence[str] = model.words
    if not words:
        path = vocabulary or _download_vocabulary(model)
        try:
            words = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"vocabulary {path}: cannot be read ({error})") from None
        _check_vocabulary(words, str(path), model.name)
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}, do_lower_case=True)


def tokenize(
    tokenizer: BertTokenizerFast, texts: Sequence[TextSample], longest: int, name: str
) -> Tokens:
    """Cut texts into at most `longest` tokens each, [CLS] and [SEP] included.

    Of a pair the longer text is cut first. Raises UserError if the vocabulary does not fit.
    """
    second = [text.second for text in texts] if any(text.second for text in texts) else None
    cut = tokenizer([text.first for text in texts], second, truncation=True, max_length=longest)
    rows = list(zip(cut["input_ids"], cut["token_type_ids"], strict=True))
    lengths = torch.tensor([len(ids) for ids, _ in rows])
    ids = torch.full((len(rows), int(lengths.max())), tokenizer.pad_token_id, dtype=torch.int32)
    segments = torch.zeros_like(ids)
    for i, (tokens, kinds) in enumerate(rows):
        ids[i, : len(tokens)] = torch.tensor(tokens, dtype=torch.int32)
        segments[i, : len(tokens)] = torch.tensor(kinds, dtype=torch.int32)
    unknown = float((ids == tokenizer.unk_token_id).sum()) / float(lengths.sum())
    if unknown > MOST_UNKNOWN:
        raise UserError(
            f"{name}: {unknown:.0%} of its words are unknown to the model's vocabulary; "
            "choose a model and data that belong together"
        )
    return Tokens(ids, segments, lengths, torch.tensor([text.label for text in texts]))


def _check_vocabulary(words: Sequence[str], path: str, model: str) -> None:
    missing = [word for word in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if word not in words]
    if missing or len(set(words)) != len(words):
        fault = f"lacks {', '.join(missing)}" if missing else "holds a word twice"
        raise UserError(f"vocabulary {path}: {fault}; give the vocab.txt of {model}")


def _download_vocabulary(model: TextModel) -> Path:
    """The published vocab.txt, from the hub or its local cache."""
    try:
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(model.hub, "vocab.txt"))
    except Exception as error:  # the hub raises many kinds, none of them shared
        told = " ".join(str(error).split())[:120] or type(error).__name__
        raise UserError(
            f"the vocabulary of {model.name} cannot be fetched ({told}); give --vocab FILE (its "
            "vocab.txt), or put vocab.txt beside the weights file"
        ) from None
    if hash_file(path) != model.vocabulary_hash:
        raise UserError(
            f"{path}: not the vocabulary that was published for {model.name}; give --vocab"
        )
    return path
