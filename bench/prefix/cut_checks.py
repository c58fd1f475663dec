"""Checks that a model split into prefix and rest computes the same values as the whole model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.layers.activations import get_logits
from bench.layers.discovery import Inputs
from bench.prefix.graph_split import TOLERANCE, Cut


def check_cut(cut: Cut, model: nn.Module, inputs: Inputs) -> None:
    """Raise UserError unless a cut made by `Splitter` computes the same logits as the model.

    The cut and the model run the same operations on the same values. The logits must agree up to
    rounding. The prefix must also give bit-identical values when it is called again, and the same
    values up to rounding for a sample alone.
    inputs: a few samples. The model is in train mode, as in a training step. Its buffers and the
    random states do not change.
    """
    (images,) = inputs
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    devices = [images.device] if images.is_cuda else []
    with torch.random.fork_rng(devices), torch.no_grad():
        try:
            torch.manual_seed(0)
            whole = get_logits(model(images))
            torch.manual_seed(1)
            cut_tensors = cut.prefix(images)
            alone = cut.prefix(images[:1])
            torch.manual_seed(0)
            parts = get_logits(cut.rest(images, *(b.clone() for b in cut.prefix(images))))
        finally:
            for buffer, before in buffers:
                buffer.copy_(before)
        again = cut.prefix(images)
    same = all(
        torch.equal(a, b) or not a.isfinite().all() for a, b in zip(cut_tensors, again, strict=True)
    )
    apart = all(_is_close(a, b[:1]) for a, b in zip(alone, cut_tensors, strict=True))
    if not (same and apart and _is_close(parts, whole)):
        raise UserError(
            f"{type(model).__name__}: splitting its forward pass after the frozen prefix (number "
            f"of layers: {len(cut.layers)}) changes the output; set cache_prefix = false and "
            "fold_norms = false"
        )


def check_same(before: Sequence[Tensor], after: Sequence[Tensor], what: str) -> None:
    """Raise UserError unless a prefix still returns the same tensors, up to rounding.

    what: the subject of the error message.
    """
    if not all(_is_close(a, b) for a, b in zip(after, before, strict=True)):
        raise UserError(
            f"{what} returns other values after BatchNorm is folded; set fold_norms = false"
        )


def _is_close(one: Tensor, expected: Tensor) -> bool:
    """Return whether a tensor is as expected, up to rounding.

    If an expected value is not finite, return True. The run then diverges, and the end of the
    epoch reports this.
    """
    if not expected.isfinite().all():
        return True
    limit = TOLERANCE.get(one.dtype, 1e-4) * max(1.0, expected.abs().max().item())
    return bool((one - expected).abs().max() <= limit)
