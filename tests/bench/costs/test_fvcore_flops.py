"""Test of models that fvcore cannot trace: the error is one line that names the module."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.costs.fvcore_flops import count_with_fvcore
from bench.errors import UserError
from bench.layers.discovery import find_layers


class Untraceable(nn.Linear):
    """Layer that raises torch's error for Conv1d on the meta device, but only in a trace."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_tracing():
            raise TypeError("cond must be a bool,\nbut got a Tensor")
        return super().forward(x)


def test_an_error_in_the_trace_names_the_module() -> None:
    model, inputs = nn.Sequential(nn.Linear(4, 4), Untraceable(4, 2)), (torch.randn(1, 4),)
    with pytest.raises(UserError, match=r"in 1 \(Untraceable\): TypeError: .* but got a Tensor\)"):
        count_with_fvcore(model, find_layers(model, inputs), inputs)
