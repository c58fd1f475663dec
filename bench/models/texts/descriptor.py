"""Descriptor of a model of texts: all that the rest of the program asks of it by name.

A new family is one file in bench/models/texts/ that defines TEXT_MODELS, a tuple of descriptors;
bench/models/texts/catalogue.py finds it there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from bench.layers.discovery import Inputs


@dataclass(frozen=True)
class TextModel(ABC):
    """A model of texts by name.

    summary: one line for `freezebench list`. positions: longest text, in tokens. words: its own
    vocabulary; () where a vocab.txt holds it. masked: it predicts masked words, not a class.
    hub: repository of its published weights and vocabulary; "" if it has none.
    vocabulary_hash: of the hub's vocab.txt.
    """

    name: str
    summary: str
    positions: int = 512
    words: tuple[str, ...] = ()
    masked: bool = False
    hub: str = ""
    vocabulary_hash: str = ""

    @abstractmethod
    def build(self, classes: int) -> nn.Module:
        """Return the model with random weights from torch's global random state."""

    @abstractmethod
    def sketch(self, classes: int, length: int) -> tuple[nn.Module, Inputs]:
        """Return the model on torch's meta device, and one text of `length` tokens.

        Layers and FLOPs follow from shapes alone, so they are found on it at no cost.
        """

    @abstractmethod
    def rename_weights(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a published checkpoint in the names of the built model."""
