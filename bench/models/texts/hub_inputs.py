"""Inputs of transformers models: argument names, and masks built without device synchronisation.

The batches of a run are token ids (B, L), the mask of real tokens (B, 1, 1, L) and segments (B, L),
padded on the right (`bench.batches.texts`). Two forward pre-hooks translate them. The first hook
gives them the names of the model's arguments. The second hook works on the base model, and replaces
the mask (B, L) by the mask that attention uses. transformers would build the same mask. However, it
would inspect the values of its input to decide whether a mask is needed, which synchronises the
device.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UserError

LONGEST = 512  # tokens of the longest text of a run; a window of this size has no effect
KINDS = ("full_attention", "sliding_attention")


@dataclass(frozen=True)
class InputNames:
    """Forward pre-hook that passes the tensors of a batch to a model as keyword arguments.

    segments: whether the model takes segments as `token_type_ids`.
    """

    segments: bool

    def __call__(self, model: nn.Module, inputs: Any, named: Any) -> tuple[Any, Any]:
        """Return no positional arguments, and the batch as named ones."""
        ids, real, segments = inputs
        batch = {"input_ids": ids, "attention_mask": real[:, 0, 0].long()}
        return (), {**named, **batch, **({"token_type_ids": segments} if self.segments else {})}


@dataclass(frozen=True)
class PreparedMask:
    """Forward pre-hook that replaces the mask of real tokens (B, L) by the mask of attention.

    causal: whether a token sees earlier tokens only.
    window: distance in tokens to the farthest token that layers of sliding attention see; 0 if no
    layer has a limit, or if the limit has no effect on the texts of a run.
    by_kind: whether the configuration lists sliding layers. The model then expects one mask for
    each kind of layer.
    additive: whether the mask is added to the scores; otherwise it is boolean.
    """

    causal: bool
    window: int
    by_kind: bool
    additive: bool

    def __call__(self, model: nn.Module, inputs: Any, named: Any) -> tuple[Any, Any]:
        """Return the arguments with the new mask, (B, 1, 1 or L, L), or one mask per kind."""
        real = named["attention_mask"].bool()
        full = real[:, None, None]
        places = torch.arange(real.shape[1], device=real.device)
        distance = places[:, None] - places  # how far a query is behind a key
        if self.causal:
            full = full & (distance >= 0)
        near = full & (distance.abs() <= self.window) if self.window else full
        full, near = (self._convert(mask) for mask in (full, near))
        mask = dict(zip(KINDS, (full, near), strict=True)) if self.by_kind else near
        return inputs, {**named, "attention_mask": mask}

    def _convert(self, mask: Tensor) -> Tensor:
        if not self.additive:
            return mask
        lowest = torch.finfo(torch.float32).min
        return torch.zeros((), device=mask.device).masked_fill(~mask, lowest)


def adapt_inputs(model: nn.Module, name: str) -> nn.Module:
    """Make a model of transformers accept the batches of a run, and return it.

    name: for messages. Raises UserError for an encoder with a decoder, and for a kind of attention
    that this module cannot mask.
    """
    config: Any = model.config
    if config.is_encoder_decoder:
        raise UserError(
            f"{name}: {type(model).__name__} is an encoder with a decoder, which the benchmark does"
            " not support; use a model that has only one of the two"
        )
    accepted = inspect.signature(type(model).forward).parameters
    # Without two kinds of segments, segment 1 is unknown (RoBERTa) or a token of the text (GPT-2).
    segments = "token_type_ids" in accepted and getattr(config, "type_vocab_size", 0) > 1
    model.register_forward_pre_hook(InputNames(segments), with_kwargs=True)
    body: nn.Module = getattr(model, str(model.base_model_prefix))
    # Models that build their masks with this module use a mask of four dimensions as it is.
    helpers = {
        key
        for key, value in vars(sys.modules[type(body).__module__]).items()
        if getattr(value, "__module__", "") == "transformers.masking_utils"
    }
    if helpers:
        mask = _describe_mask(model, config, name)
        body.register_forward_pre_hook(mask, with_kwargs=True)
    return model


def is_causal(model: nn.Module) -> bool:
    """Return whether the tokens of a model see earlier tokens only."""
    return any(getattr(module, "is_causal", False) for module in model.modules())


def _describe_mask(model: nn.Module, config: Any, name: str) -> PreparedMask:
    kinds = set(getattr(config, "layer_types", None) or KINDS[:1])
    if strange := sorted(kinds - set(KINDS)):
        raise UserError(
            f"{name}: {type(model).__name__} has layers of {strange[0]}, which the benchmark cannot"
            " mask; use another model"
        )
    causal = is_causal(model)
    window = getattr(config, "sliding_window", None) or 0
    # Qwen2 declares a window that it does not use; Mistral has no kinds of layers and uses it.
    if not getattr(config, "use_sliding_window", True):
        window = 0
    window = max(window - 1, 0) if causal else window  # a causal window includes the token itself
    by_kind = KINDS[1] in kinds
    additive = config._attn_implementation == "eager"
    return PreparedMask(causal, window if window < LONGEST else 0, by_kind, additive)
