"""Gradient sums over processes: flat buckets, reduced during the backward pass.

Buckets contain only parameters that train now. A frozen layer is therefore not communicated, and
no process waits for a gradient that is never computed. `Buckets.rebuild` rebuilds them when the
freeze state changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

# Same as in DistributedDataParallel: large enough to use the link, small enough to start early.
BUCKET_BYTES = 25 * 1024 * 1024


@dataclass
class _Bucket:
    """Parameters whose gradients are reduced together.

    missing: number of gradients that the backward pass has not computed yet.
    """

    parameters: list[nn.Parameter]
    missing: int = 0
    gradients: list[Tensor] = field(default_factory=list)
    flat: Tensor | None = None
    work: Any = None


class Buckets:
    """Sums over all processes of the gradients of the parameters that train.

    Every process must pass the same parameters, in the order of the forward pass, and run the same
    backward pass. most_bytes: maximum size of a bucket of several parameters. sent: bytes of
    gradients that this process has passed to all_reduce so far.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], most_bytes: int = BUCKET_BYTES) -> None:
        self._all, self._most = list(parameters), most_bytes
        self._buckets: list[_Bucket] = []
        self._hooks: list[Any] = []
        self._next = 0
        self.sent = 0
        self.rebuild()

    def rebuild(self) -> None:
        """Rebuild the buckets from the parameters that train now.

        Must not be called between a backward pass and `finish`.
        """
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        self._buckets.clear()
        room = 0
        for parameter in reversed(self._all):  # the order in which backward computes gradients
            if not parameter.requires_grad:
                continue
            size = parameter.numel() * parameter.element_size()
            if not self._buckets or size > room:
                self._buckets.append(_Bucket([]))
                room = self._most
            room -= size
            bucket = self._buckets[-1]
            bucket.parameters.append(parameter)
            hook = parameter.register_post_accumulate_grad_hook(self._make_arrival_hook(bucket))
            self._hooks.append(hook)
        self._begin()

    def finish(self) -> None:
        """Wait for the sums and copy them into the gradients.

        Must be called once after each backward pass. A parameter that the backward pass did not
        reach has no gradient on any process.
        """
        for bucket in self._buckets[self._next :]:
            self._send(bucket)
        for bucket in self._buckets:
            if bucket.work is None or bucket.flat is None:
                continue
            bucket.work.wait()
            pieces = bucket.flat.split([g.numel() for g in bucket.gradients])
            shaped = [p.view_as(g) for p, g in zip(pieces, bucket.gradients, strict=True)]
            torch._foreach_copy_(bucket.gradients, shaped)
        self._begin()

    def _begin(self) -> None:
        self._next = 0
        for bucket in self._buckets:
            bucket.missing = len(bucket.parameters)
            bucket.gradients, bucket.flat, bucket.work = [], None, None

    def _make_arrival_hook(self, bucket: _Bucket) -> Any:
        def arrived(parameter: Tensor) -> None:
            bucket.missing -= 1
            # Send buckets strictly in order: all processes must call all_reduce in the same order,
            # but gradients may be computed in a different order on each.
            while self._next < len(self._buckets) and not self._buckets[self._next].missing:
                self._send(self._buckets[self._next])
                self._next += 1

        return arrived

    def _send(self, bucket: _Bucket) -> None:
        bucket.gradients = [p.grad for p in bucket.parameters if p.grad is not None]
        if not bucket.gradients:
            return
        bucket.flat = torch.cat([gradient.reshape(-1) for gradient in bucket.gradients])
        bucket.work = dist.all_reduce(bucket.flat, async_op=True)
        self.sent += bucket.flat.numel() * bucket.flat.element_size()
