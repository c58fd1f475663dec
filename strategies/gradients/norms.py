"""L2 norms over groups of tensors, such as the gradients of each layer or block."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def compute_group_norms(groups: Sequence[Sequence[torch.Tensor]]) -> list[float]:
    """Return the L2 norm over all tensors of each group, with a single copy from the device.

    The norm of a group without tensors is NaN.
    """
    flat = [tensor for group in groups for tensor in group]
    if not flat:
        return [math.nan] * len(groups)
    norms = iter(torch.stack(torch._foreach_norm(flat)).tolist())
    return [math.hypot(*(next(norms) for _ in own)) if own else math.nan for own in groups]
