"""Check that padding does not change what a classifier of transformers computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UserError, summarise_error
from bench.models.texts.hub_inputs import LONGEST, adapt_inputs

TOLERANCE = 1e-3  # times the largest logit


def adapt_and_check(model: Any, name: str, longest: int) -> nn.Module:
    """Make a classifier of transformers accept the batches of a run, check it, and return it.

    longest: length of the longest text that the model accepts, in tokens.
    Raises UserError if the logits of a text in a padded batch differ from those of the text alone.
    The text alone is evaluated by the model as transformers built it, without a mask. The check
    detects model families whose mask, positions or last token do not fit a padded batch.
    """
    ids, lengths = _make_texts(model.config, longest)
    model.eval()
    try:
        with torch.no_grad():
            alone = [model(input_ids=x[:k][None]).logits for x, k in zip(ids, lengths, strict=True)]
            adapt_inputs(model, name)
            real = torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]
            padded = ids.masked_fill(~real, model.config.pad_token_id)
            together = model(padded, real[:, None, None], torch.zeros_like(ids)).logits
    except UserError:
        raise
    except Exception as error:  # each family raises errors of its own
        raise UserError(
            f"{name}: {type(model).__name__} cannot evaluate a padded batch "
            f"({summarise_error(error)}); use another model"
        ) from None
    if not _agree(torch.cat(alone), together):
        raise UserError(
            f"{name}: {type(model).__name__} gives other logits for a padded text than for the text"
            " alone, so its accuracy would depend on the other texts of a batch; use another model"
        )
    adapted: nn.Module = model.train()
    return adapted


def _make_texts(config: Any, longest: int) -> tuple[Tensor, tuple[int, int]]:
    """Return two rows of token ids without padding tokens, and the lengths of the two texts.

    If a text of a run can exceed the sliding window of the model, the first text does.
    """
    window = getattr(config, "sliding_window", None) or 0
    length = min(window + 8 if 8 <= window < LONGEST else 16, longest)
    ids = torch.arange(2 * length).reshape(2, length) * 7 % (config.vocab_size - 1)
    return ids + (ids >= config.pad_token_id).long(), (length, max(1, length // 2))


def _agree(one: Tensor, other: Tensor) -> bool:
    difference, largest = float((one - other).abs().max()), float(one.abs().max())
    return difference <= TOLERANCE * largest  # False for NaN
