"""LoRA adapters in a text model: `lora:MODEL`, through the peft library.

Hu et al. (2022), "LoRA: Low-Rank Adaptation of Large Language Models", arXiv 2106.09685. Small
matrices A and B are added to some linear layers, whose output becomes W x + (α / r) B A x. B starts
at zero, so at the start the output is that of the model without adapters. Rank, α and the adapted
layers (query and value) are the defaults of peft. Every A and B is a layer of its own. The strategy
`probe` trains only the adapters and the head, which is the usual form of LoRA.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from bench.errors import UserError
from bench.models.texts.bert import Bert
from bench.models.texts.descriptor import TextModel

PREFIX = "lora:"
RANK, ALPHA = 8, 8  # defaults of peft


@dataclass(frozen=True)
class LoraModel(TextModel):
    """Descriptor of a text model with adapters.

    base: the model without them.
    """

    base: TextModel = field(default_factory=lambda: Bert("", ""))

    def build(self, classes: int) -> nn.Module:
        """Return the model with random weights; those of the base are drawn first."""
        return add_adapters(self.base.build(classes))

    def rename_weights(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a published checkpoint with the tensor names of the model without adapters."""
        return self.base.rename_weights(tensors)


def wrap_with_adapters(base: TextModel) -> LoraModel:
    """Return the descriptor of a model with adapters."""
    return LoraModel(
        PREFIX + base.name,
        f"{base.name} with LoRA adapters",
        base.positions,
        base.words,
        base.masked,
        base.hub,
        base.vocabulary_hash,
        base.causal,
        base=base,
    )


def add_adapters(model: nn.Module) -> nn.Module:
    """Add adapters to a model of transformers, and return it. All of its weights can be trained.

    Raises UserError if peft is not installed or does not know the model.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
        from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as KNOWN
    except ImportError:
        raise UserError(
            "lora: needs the library peft; run `pip install 'freezebench[lora]'`, or give the "
            "model without lora:"
        ) from None
    config: Any = model.config
    if config.model_type not in KNOWN:
        raise UserError(
            f"lora: peft does not know which layers of {config.model_type} to adapt; use another "
            "model"
        )
    chosen = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(KNOWN[config.model_type]))
    adapted: nn.Module = inject_adapter_in_model(chosen, model)
    # peft froze everything else. Here only strategies freeze.
    return adapted.requires_grad_(True)


def is_adapter(layer: str) -> bool:
    """Return whether a layer, given by its name, is part of an adapter."""
    return ".lora_" in layer
