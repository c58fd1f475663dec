"""BERT models of transformers, for text classification and for pretraining.

Importing transformers takes seconds, so it is imported only when a BERT is built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from bench.data.texts.grammar.words import build_vocabulary
from bench.models.texts.descriptor import TextModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

HUB = "google-bert/bert-base-uncased"
# Hash of the hub's vocab.txt, which has not changed since it was published.
HUB_VOCABULARY = "07eced375cec144d"
LONGEST = 64  # positions of the small BERT; no sentence of the grammar is longer


@dataclass(frozen=True)
class Bert(TextModel):
    """Descriptor of a BERT.

    shape: settings that differ from BERT-base.
    """

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

    def rename_weights(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a BERT checkpoint with the tensor names of a classifier.

        Pretraining heads are dropped. In the hub's file, the weights of norms are called gamma and
        beta. In a checkpoint of a bare BertModel, the names lack the prefix "bert.".
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
    # Dropout does not help in a few hundred steps, as in the profile's other models.
    ("hidden_dropout_prob", 0.0),
    ("attention_probs_dropout_prob", 0.0),
)
TEXT_MODELS = (
    Bert(
        "laptop_bert",
        "BERT for texts of the grammar: four blocks of width 64",
        LONGEST,
        build_vocabulary(),
        shape=_SMALL,
    ),
    Bert(
        "laptop_bert_mlm",
        "laptop_bert with a head that predicts masked words, for pretraining",
        LONGEST,
        build_vocabulary(),
        masked=True,
        shape=_SMALL,
    ),
    Bert(
        "bert-base-uncased",
        "from transformers; the paper's BERT-base",
        hub=HUB,
        vocabulary_hash=HUB_VOCABULARY,
    ),
)
