"""Checks and conversion of the numbers that a training loop passes to Freezing."""

from __future__ import annotations

import math
import operator
from contextlib import suppress
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from bench.errors import UserError


def read_count(name: str, value: Any) -> int:
    """Return a number as a Python int. Raise UserError unless it is a whole number above 0.

    numpy's integers are converted, because torch.load refuses a saved state that holds them.
    """
    with suppress(TypeError):
        if not isinstance(value, bool) and (count := operator.index(value)) >= 1:
            return count
    raise UserError(f"Freezing: {name} = {value!r} is not valid; give a whole number of at least 1")


def read_seed(value: Any) -> int:
    """Return a seed as a Python int. Raise UserError unless it is a whole number."""
    try:
        return operator.index(value)
    except TypeError:
        raise UserError(f"Freezing: seed = {value!r} is not valid; give a whole number") from None


def read_rate(value: Any) -> float:
    """Return base_lr as a Python float. Raise UserError unless it is above 0 and finite."""
    if isinstance(value, Real) and 0 < float(value) < math.inf:
        return float(value)
    raise UserError(f"Freezing: base_lr = {value!r} is not valid; give a finite number above 0")


def read_loss(loss: Any, device: torch.device) -> Tensor:
    """Return the training loss of a step, 0-d on a device. Raise UserError for several values."""
    try:
        value = torch.as_tensor(loss, device=device).detach()
        return value.reshape(())
    except (TypeError, ValueError, RuntimeError):
        kind = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"{loss!r}"
        raise UserError(
            f"Freezing: step() got a loss of {kind}; give the training loss of the step, one number"
        ) from None
