"""View whose weights move by random steps, as in a training, unless their layer is frozen."""

from __future__ import annotations

import torch

from tests.support.hand_view import HandView


class MovingView(HandView):
    """HandView with weights: two tensors for each layer, the second of which contains a zero."""

    def __init__(self, layers: int, steps: int, seed: int) -> None:
        super().__init__([1] * layers, total_steps=steps, seed=seed)
        self.random = torch.Generator().manual_seed(seed)
        self.values = [
            [self._draw(3, 2), self._draw(4) * torch.tensor([1.0, 0.0, 1.0, 1.0])]
            for _ in range(layers)
        ]
        # Layers move by different amounts, some back and forth.
        self.speed = 10 ** (2 * torch.rand(layers, generator=self.random) - 3)
        self.drift = torch.rand(layers, generator=self.random)

    def _draw(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.random)

    def weights(self, layer: int) -> list[torch.Tensor]:
        """Return the weights of a layer."""
        return self.values[layer]

    def move(self) -> None:
        """Change the weights of the layers that train, as one step does."""
        self.step += 1
        for layer, tensors in enumerate(self.values):
            for tensor in tensors:
                change = self._draw(*tensor.shape) + self.drift[layer]
                if layer not in self.frozen:
                    tensor += self.speed[layer] * change

    def apply(self, decisions: list) -> None:
        """Freeze and thaw layers."""
        for decision in decisions:
            change = self.frozen.union if decision.freeze else self.frozen.difference
            self.frozen = change({decision.layer})
