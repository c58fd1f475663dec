"""BERT by name, as transformers builds it: for classifying texts, and for pretraining.

Importing transformers takes seconds, so that only what builds a BERT pays for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bench.data.texts.grammar.words import vocabulary
from bench.layers.discovery import Inputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

HUB = "google-bert/bert-base-uncased"
# Of the hub's vocab.txt, which has not changed since it was published: a local copy is the same.
HUB_VOCABULARY = "07eced375cec144d"
LONGEST = 64  # positions of the laptop profile's BERT; no sentence of the grammar needs more


@dataclass(frozen=True)
class Bert:
    """A BERT's shape where it is not BERT-base's, and what it is for.

    words: its own vocabulary; () where a vocab.txt holds it. masked: it predicts masked words.
    """

    doc: str
    shape: tuple[tuple[str, int | float], ...] = ()
    words: tuple[str, ...] = ()
    masked: bool = False

    @property
    def positions(self) -> int:
        """The longest text it takes, in tokens."""
        return int(dict(self.shape).get("max_position_embeddings", 512))


_SMALL = (
    ("hidden_size", 64),
    ("num_hidden_layers", 4),
    ("num_attention_heads", 4),
    ("intermediate_size", 256),
    ("max_position_embeddings", LONGEST),
    ("vocab_size", len(vocabulary())),
    # As in the profile's other models: a few hundred steps gain nothing from dropout.
    ("hidden_dropout_prob", 0.0),
    ("attention_probs_dropout_prob", 0.0),
)
BERTS = {
    "laptop_bert": Bert("BERT: four blocks of width 64 for the grammar", _SMALL, vocabulary()),
    "laptop_bert_mlm": Bert("its pretraining, by masked words", _SMALL, vocabulary(), masked=True),
    "bert-base-uncased": Bert("transformers'; the paper's BERT-base"),
}


def build(name: str, classes: int) -> nn.Module:
    """A BERT with random weights from torch's global random state."""
    from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

    kind = BERTS[name]
    shape: dict[str, Any] = dict(kind.shape)
    if kind.masked:
        made: nn.Module = BertForMaskedLM(BertConfig(**shape))
        return made
    classifier: nn.Module = BertForSequenceClassification(BertConfig(**shape, num_labels=classes))
    return classifier


def skeleton(name: str, classes: int, length: int) -> tuple[nn.Module, Inputs]:
    """The same without weights, on torch's meta device, and one text of `length` tokens.

    What follows from shapes alone (layers, FLOPs) is found on it at no cost.
    """
    with torch.device("meta"):
        model = build(name, classes)
        tokens = torch.zeros((1, length), dtype=torch.long)
        return model, (tokens, torch.ones((1, 1, 1, length), dtype=torch.bool), tokens)


def translated(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A BERT checkpoint in the names of a classifier: without pretraining heads.

    The hub's file calls the weights of norms gamma and beta; one of a bare BertModel lacks the
    first part of each name.
    """
    bare = not any(key.startswith("bert.") for key in tensors)
    found = {}
    for key, value in tensors.items():
        name = key.replace("LayerNorm.gamma", "LayerNorm.weight")
        name = name.replace("LayerNorm.beta", "LayerNorm.bias")
        if bare and not name.startswith(("cls.", "classifier.")):
            name = f"bert.{name}"
        if not name.startswith("cls.") and not name.endswith("position_ids"):
            found[name] = value
    return found
