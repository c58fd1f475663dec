"""Reference training loop in plain PyTorch, the baseline for the harness overhead.

The loop trains the same model on the same images with the same optimizer, without clocks,
accounting or a strategy. Frozen layers are handled as efficiently as plain PyTorch allows:

- Frozen weights have requires_grad=False, so autograd builds no graph below the first layer that
  trains.
- BatchNorm and dropout of frozen layers are in eval mode.
- The fused optimizer receives only the parameters that train.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.layers.discovery import Layer
from bench.machine.to_device import move_to_device


class ReferenceLoop:
    """Hand-written training loop without instrumentation.

    images, labels: uint8 (N, 3, R, R) and int64 (N,), on the device of the model.
    mean, std: (3,), for pixels in [0, 1].
    total: steps of the cosine schedule.
    bfloat16: whether forward pass and loss run under autocast.
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        images: Tensor,
        labels: Tensor,
        mean: Tensor,
        std: Tensor,
        *,
        batch_size: int,
        lr: float,
        momentum: float,
        weight_decay: float,
        total: int,
        bfloat16: bool = False,
    ) -> None:
        self.model, self.layers = model, layers
        self.images, self.labels = images, labels
        self.shift = (255 * mean).view(1, 3, 1, 1)
        self.scale = (255 * std).view(1, 3, 1, 1)
        self.batch_size, self.lr, self.total = batch_size, lr, total
        self.momentum, self.weight_decay = momentum, weight_decay
        self.bfloat16 = bfloat16
        self.step_count = 0
        self.order = torch.empty(0, dtype=torch.int64)
        self.loss = torch.zeros((), device=images.device)
        self.freeze(())

    def freeze(self, frozen: Collection[int]) -> None:
        """Freeze these layers and thaw all others. Build a new optimizer without momentum state."""
        self.model.train()
        kept = {n for x in self.layers if x.index not in frozen for n in x.weightless}
        for layer in self.layers:
            for name in layer.parameters:
                parameter = self.model.get_parameter(name)
                parameter.requires_grad_(layer.index not in frozen)
                parameter.grad = None
            if layer.index in frozen:
                for name in {*layer.modules, *layer.weightless} - kept:
                    self.model.get_submodule(name).eval()
        trains = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(
            trains, self.lr, self.momentum, weight_decay=self.weight_decay, fused=True
        )

    def step(self) -> None:
        """Take one training step on the next batch."""
        if len(self.order) < self.batch_size:
            self.order = move_to_device(self.images.device, torch.randperm(len(self.labels)))
        chosen, self.order = self.order[: self.batch_size], self.order[self.batch_size :]
        pixels = self.images[chosen].float().sub_(self.shift).div_(self.scale)
        self.optimizer.param_groups[0]["lr"] = (
            0.5 * self.lr * (1 + math.cos(math.pi * self.step_count / self.total))
        )
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.bfloat16):
            loss = F.cross_entropy(self.model(pixels), self.labels[chosen])
        loss.backward()
        self.optimizer.step()
        self.loss += loss.detach()
        self.step_count += 1
