"""Bringing what was made on the CPU to the device without making the CPU wait for it."""

from __future__ import annotations

import torch
from torch import Tensor


def move_to_device(device: torch.device, tensor: Tensor) -> Tensor:
    """The tensor on the device.

    A copy to CUDA from ordinary memory waits for all that is queued there; one from pinned memory
    is queued itself.
    """
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
