"""Descriptor of a text model: the interface that the rest of the program uses.

A new family is one file in bench/models/texts/ that defines TEXT_MODELS, a tuple of descriptors.
bench/models/texts/catalogue.py finds it there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.layers.discovery import Inputs


@dataclass(frozen=True)
class TextModel(ABC):
    """Descriptor of a text model.

    Attributes:
        name: name of the model in a run.
        summary: one line for `freezebench list`.
        positions: length of the longest text, in tokens.
        words: built-in vocabulary, or () if a vocab.txt file contains it.
        masked: whether the model predicts masked words instead of a class.
        hub: hub repository of its published weights and vocabulary, or "" if there is none.
        vocabulary_hash: hash of the hub's vocab.txt.
        causal: whether the model predicts the next word of each text instead of a class.
    """

    name: str
    summary: str
    positions: int = 512
    words: tuple[str, ...] = ()
    masked: bool = False
    hub: str = ""
    vocabulary_hash: str = ""
    causal: bool = False

    @abstractmethod
    def build(self, classes: int) -> nn.Module:
        """Return the model with random weights from torch's global random state."""

    def sketch(self, classes: int, length: int) -> tuple[nn.Module, Inputs]:
        """Return the model on torch's meta device, and one text of `length` tokens.

        Layers and FLOPs depend on shapes only, so no weights are needed to find them.
        """
        with torch.device("meta"):
            model = self.build(classes)
            tokens = torch.zeros((1, length), dtype=torch.long)
            return model, (tokens, torch.ones((1, 1, 1, length), dtype=torch.bool), tokens)

    def list_new_parts(self, model: nn.Module) -> tuple[str, ...]:
        """Return the modules of the built model that published weights may lack."""
        return ()

    @abstractmethod
    def rename_weights(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a published checkpoint with the tensor names of the built model."""
