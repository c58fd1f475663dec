"""The last W entries of a row of tensors, one row a layer, in one tensor on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.machine.to_device import move_to_device


class SnapshotRing:
    """Keeps the newest `window` entries (layers, width), oldest overwritten first.

    count: how many entries were ever pushed.
    """

    def __init__(self, window: int, layers: int, width: int, device: torch.device) -> None:
        self._ring = torch.zeros(window, layers, width, device=device)
        self.count = 0

    def push(self) -> Tensor:
        """Make room for a new entry and return it (layers, width), to be written to."""
        self.count += 1
        return self.look_back(0)

    def look_back(self, steps: int) -> Tensor:
        """The entry pushed `steps` before the newest, a view (layers, width)."""
        return self._ring[(self.count - 1 - steps) % len(self._ring)]

    def __len__(self) -> int:
        return min(self.count, len(self._ring))

    def last(self, entries: int) -> Tensor:
        """The newest `entries` entries (entries, layers, width), oldest first, copied."""
        places = [(self.count - entries + i) % len(self._ring) for i in range(entries)]
        return self._chosen(0, places)

    def get_unordered(self) -> tuple[Tensor, Tensor]:
        """All places (window, layers, width), in no order, and which are filled: bool (window,)."""
        filled = torch.arange(len(self._ring), device=self._ring.device) < self.count
        return self._ring, filled

    def keep(self, rows: Sequence[int]) -> None:
        """Drop the history of all layers but these rows, in this order."""
        self._ring = self._chosen(1, rows)

    def _chosen(self, dim: int, places: Sequence[int]) -> Tensor:
        """Some places of a dimension, in this order, without waiting for the device."""
        index = torch.tensor(list(places), dtype=torch.int64)
        return self._ring.index_select(dim, move_to_device(self._ring.device, index))

    def state_dict(self) -> dict[str, Any]:
        """The entries and their number."""
        return {"ring": self._ring.clone(), "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave; the number of layers becomes the saved one."""
        self._ring = state["ring"].to(self._ring.device).clone()
        self.count = state["count"]


class Past:
    """A ring as it was `steps` entries ago, when it could look back over `window` entries.

    The ring must hold that many more.
    """

    def __init__(self, ring: SnapshotRing, steps: int, window: int) -> None:
        self._ring, self._steps, self._window = ring, steps, window

    def look_back(self, steps: int) -> Tensor:
        """The entry `steps` before the newest of then (layers, width)."""
        return self._ring.look_back(self._steps + steps)

    def __len__(self) -> int:
        return min(self._ring.count - self._steps, self._window)
