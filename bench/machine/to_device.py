"""Copies of CPU tensors to the device that do not block the CPU."""

from __future__ import annotations

import torch
from torch import Tensor


def move_to_device(device: torch.device, tensor: Tensor) -> Tensor:
    """Return the tensor on the device.

    A copy from pageable memory to CUDA blocks the CPU until all queued work is done. A copy from
    pinned memory only joins the queue.
    """
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
