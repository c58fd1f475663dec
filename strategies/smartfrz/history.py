"""Ring buffers on the device that keep the last W entries, with one row per layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.machine.to_device import move_to_device


class SnapshotRing:
    """Ring buffer of the newest `window` entries (layers, width). A push overwrites the oldest.

    count: number of entries pushed so far.
    """

    def __init__(self, window: int, layers: int, width: int, device: torch.device) -> None:
        self._ring = torch.zeros(window, layers, width, device=device)
        self.count = 0

    def push(self) -> Tensor:
        """Add an entry and return its view (layers, width), which the caller has to fill."""
        self.count += 1
        return self.look_back(0)

    def look_back(self, steps: int) -> Tensor:
        """Return a view (layers, width) of the entry pushed `steps` entries before the newest."""
        return self._ring[(self.count - 1 - steps) % len(self._ring)]

    def __len__(self) -> int:
        return min(self.count, len(self._ring))

    def last(self, entries: int) -> Tensor:
        """Return a copy of the newest `entries` entries (entries, layers, width), oldest first."""
        places = [(self.count - entries + i) % len(self._ring) for i in range(entries)]
        return self._chosen(0, places)

    def get_unordered(self) -> tuple[Tensor, Tensor]:
        """Return all slots (window, layers, width) without order, and a mask of the filled slots.

        The mask is bool (window,).
        """
        filled = torch.arange(len(self._ring), device=self._ring.device) < self.count
        return self._ring, filled

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these rows, one per layer, in this order; the history of other rows is lost."""
        self._ring = self._chosen(1, rows)

    def _chosen(self, dim: int, places: Sequence[int]) -> Tensor:
        """Return the slices at `places` of dimension `dim`, without waiting for the device."""
        index = torch.tensor(list(places), dtype=torch.int64)
        return self._ring.index_select(dim, move_to_device(self._ring.device, index))

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the entries, and the number of entries pushed so far."""
        return {"ring": self._ring.clone(), "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state from `state_dict`. It may have another number of layers."""
        self._ring = state["ring"].to(self._ring.device).clone()
        self.count = state["count"]


class Past:
    """View of a ring as it was before the last `steps` pushes, with at most `window` entries.

    The ring must have at least window + steps slots.
    """

    def __init__(self, ring: SnapshotRing, steps: int, window: int) -> None:
        self._ring, self._steps, self._window = ring, steps, window

    def look_back(self, steps: int) -> Tensor:
        """Return the entry (layers, width) `steps` entries before the newest entry of this view."""
        return self._ring.look_back(self._steps + steps)

    def __len__(self) -> int:
        return min(self._ring.count - self._steps, self._window)
