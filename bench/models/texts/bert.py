"""BERT by name, as transformers builds it: for classifying texts, and for pretraining.

Importing transformers takes seconds, so that only what builds a BERT pays for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bench.data.texts.grammar.words import build_vocabulary
from bench.layers.discovery import Inputs
from bench.models.texts.descriptor import TextModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

HUB = "google-bert/bert-base-uncased"
# Of the hub's vocab.txt, which has not changed since it was published: a local copy is the same.
HUB_VOCABULARY = "07eced375cec144d"
LONGEST = 64  # positions of the laptop profile's BERT; no sentence of the grammar needs more


@dataclass(frozen=True)
class Bert(TextModel):
    """A BERT; shape: its configuration where it is not BERT-base's."""

    shape: tuple[tuple[str, int | float], ...] = ()

    def build(self, classes: int) -> nn.Module:
        """Return the model with random weights from torch's global random state."""
        from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

        shape: dict[str, Any] = dict(self.shape)
        if self.masked:
            made: nn.Module = BertForMaskedLM(BertConfig(**shape))
            return made
        config = BertConfig(**shape, num_labels=classes)
        classifier: nn.Module = BertForSequenceClassification(config)
        return classifier

    def sketch(self, classes: int, length: int) -> tuple[nn.Module, Inputs]:
        """Return the model without weights, and one text of `length` tokens."""
        with torch.device("meta"):
            model = self.build(classes)
            tokens = torch.zeros((1, length), dtype=torch.long)
            return model, (tokens, torch.ones((1, 1, 1, length), dtype=torch.bool), tokens)

    def rename_weights(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a BERT checkpoint in the names of a classifier, without pretraining heads.

        The hub's file calls the weights of norms gamma and beta; one of a bare BertModel lacks
        the first part of each name.
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


_SMALL = (
    ("hidden_size", 64),
    ("num_hidden_layers", 4),
    ("num_attention_heads", 4),
    ("intermediate_size", 256),
    ("max_position_embeddings", LONGEST),
    ("vocab_size", len(build_vocabulary())),
    # As in the profile's other models: a few hundred steps gain nothing from dropout.
    ("hidden_dropout_prob", 0.0),
    ("attention_probs_dropout_prob", 0.0),
)
TEXT_MODELS = (
    Bert(
        "laptop_bert",
        "BERT: four blocks of width 64 for the grammar",
        LONGEST,
        build_vocabulary(),
        shape=_SMALL,
    ),
    Bert(
        "laptop_bert_mlm",
        "its pretraining, by masked words",
        LONGEST,
        build_vocabulary(),
        masked=True,
        shape=_SMALL,
    ),
    Bert(
        "bert-base-uncased",
        "transformers'; the paper's BERT-base",
        hub=HUB,
        vocabulary_hash=HUB_VOCABULARY,
    ),
)
