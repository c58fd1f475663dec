"""Fused attention, whose kernels compute the scores again in the backward pass.

`scaled_dot_product_attention` has a "math" backend and fused kernels (flash, memory-efficient,
cuDNN). The "math" backend computes two products, scores = queries × keys and output =
softmax(scores) × values. A fused kernel does not save the scores. Its backward pass therefore
computes queries × keys again, besides the four products of the "math" backend (Dao et al. 2022,
FlashAttention, arXiv 2205.14135).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.costs.recomputation import Span
from bench.layers.discovery import Inputs
from bench.layers.freezing import copy_thawed


class AttentionCalls:
    """Context manager that records the calls of `scaled_dot_product_attention`.

    The function is replaced in torch.nn.functional, because a `TorchFunctionMode` does not see the
    calls that nn.MultiheadAttention makes.
    spans: sequence numbers of the autograd nodes of each call. outputs: output of each call.
    """

    def __init__(self) -> None:
        self._replaced: Any = None
        self.spans: list[Span] = []
        self.outputs: list[Tensor] = []

    def __enter__(self) -> AttentionCalls:
        self._replaced = F.scaled_dot_product_attention
        F.scaled_dot_product_attention = self._record
        return self

    def __exit__(self, *_: object) -> None:
        F.scaled_dot_product_attention = self._replaced

    def _record(self, *args: Any, **kwargs: Any) -> Tensor:
        begin = torch._C._autograd._get_sequence_nr()
        output: Tensor = self._replaced(*args, **kwargs)
        self.spans.append((begin, torch._C._autograd._get_sequence_nr()))
        self.outputs.append(output)
        return output


def find_rebuilt_products(
    reach: Mapping[Any, int], products: Sequence[Any], calls: Sequence[Span]
) -> dict[Any, int]:
    """Return each node whose product a fused kernel computes again, with a mask of layers.

    The kernel computes the product again if any layer of the mask trains.
    reach: every node with the mask of the layers that it can reach.
    products: nodes whose operator is a product.
    calls: spans of the calls of attention with the "math" backend.
    """
    rebuilt = {}
    for begin, end in calls:
        inside = [node for node in products if begin <= node._sequence_nr() < end]
        inside.sort(key=lambda node: node._sequence_nr())
        if inside:
            *scores, output = inside
            rebuilt.update(dict.fromkeys(scores, reach[output]))
    return rebuilt


def uses_fused_attention(
    model: nn.Module, inputs: Inputs, autocast: Callable[[], AbstractContextManager[Any]]
) -> bool:
    """Return whether every call of attention in a training step runs a fused kernel.

    The choice of kernel depends on the device, the precision, dropout and the mask. On a CPU,
    dropout in attention selects the "math" backend. The function runs a copy of the model with
    nothing frozen. Buffers and random states do not change.
    inputs: a few samples.
    """
    devices = [x.device for x in inputs if x.is_cuda]
    calls = AttentionCalls()
    with torch.random.fork_rng(devices), torch.enable_grad(), autocast(), calls:
        copy_thawed(model)(*inputs)
    fused = [_has_fused_node(*call) for call in zip(calls.outputs, calls.spans, strict=True)]
    return bool(fused) and all(fused)


def _has_fused_node(output: Tensor, span: Span) -> bool:
    """Return whether a node of a fused kernel created the output of a call."""
    stack, begin = [output.grad_fn], span[0]
    while stack:
        node = stack.pop()
        if node is None or node._sequence_nr() < begin:
            continue
        if type(node).__name__.startswith("ScaledDotProduct"):
            return True
        stack += [child for child, _ in node.next_functions]
    return False
