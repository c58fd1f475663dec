"""Tokens of the layers that may still freeze, and the predictor's score of each layer.

The tokens of several snapshots are computed together, usually at a freezing stage. Computing them
one at a time between training steps would take twice as long, because caches would be cold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bench.machine.to_device import move_to_device
from strategies.base import View
from strategies.smartfrz.features import FEATURES, SchedulePosition
from strategies.smartfrz.history import Past, SnapshotRing
from strategies.smartfrz.predictor import KEY, Predictor, count_prediction_flops
from strategies.smartfrz.tailoring import Tailor


class TokenHistory:
    """The last `window` tokens of each layer that may still freeze, with their keys and values.

    layers: indices of these layers.
    tokens: ring of their tokens (window, layers, token width).
    flops: FLOPs of the predictor so far.
    """

    def __init__(
        self,
        view: View,
        network: Predictor,
        features: str,
        tailored: int,
        window: int,
        most_waiting: int,
    ) -> None:
        """Begin with no snapshot.

        tailored: weights in a snapshot of a layer.
        most_waiting: largest number of snapshots that may wait for the computation of their tokens.
        """
        self._network, self._features = network, FEATURES[features]
        self._window, self._most_waiting = window, most_waiting
        self._watched, self._device = view.active, view.device
        self._set_layers(self._watched)
        weights = [view.parameters(layer.index)[0] for layer in view.layers]
        self._tailor = Tailor(weights, tailored, view.generator("tailoring"))
        rows, width = len(self._watched), self._features.width(tailored)
        self._waiting: list[SchedulePosition] = []
        self._snapshots = SnapshotRing(window + most_waiting, rows, tailored, view.device)
        self.tokens = SnapshotRing(window, rows, width, view.device)
        self._encoded = SnapshotRing(window, rows, 2 * KEY, view.device)  # K and V, concatenated
        self.flops = 0.0

    def take_snapshot(self, view: View) -> None:
        """Take a snapshot of all layers but the head.

        Frozen layers are included, because their displacement before the freeze is part of the
        tokens of later layers.
        """
        self._tailor.take(self._watched, self._snapshots.push())
        self._waiting.append(SchedulePosition.of(view))
        if len(self._waiting) > self._most_waiting:
            self.make_tokens()

    def make_tokens(self) -> None:
        """Compute the missing tokens. Each token uses only its snapshot and earlier snapshots."""
        for steps, position in zip(reversed(range(len(self._waiting))), self._waiting, strict=True):
            then = Past(self._snapshots, steps, self._window)
            tokens = self._features.token(then, position)
            self.tokens.push().copy_(tokens if self._rows is None else tokens[self._rows])
        self._waiting.clear()

    def compute_scores(self) -> list[float]:
        """Return P(freeze) of each layer, with one copy from the device."""
        self._encode()
        encoded, filled = self._encoded.get_unordered()
        keys, values = encoded.transpose(0, 1).split(KEY, dim=2)
        with torch.no_grad():
            logits = self._network.attend(self.tokens.look_back(0)[:, None], keys, values, filled)
        scores: list[float] = logits[:, 0].softmax(dim=1)[:, 1].tolist()
        return scores

    def _encode(self) -> None:
        """Compute K and V of the tokens added since the last call."""
        fresh = min(self.tokens.count - self._encoded.count, self._window)
        with torch.no_grad():
            pairs = torch.cat(self._network.encode(self.tokens.last(fresh)), dim=2)
        self._encoded.count = self.tokens.count - fresh
        for pair in pairs:
            self._encoded.push().copy_(pair)
        width = self._network.inputs
        self.flops += len(self.layers) * count_prediction_flops(width, len(self.tokens), fresh)

    def drop_frozen(self, view: View) -> None:
        """Drop the tokens of layers that were frozen since the last call."""
        active = set(view.active)
        rows = [row for row, layer in enumerate(self.layers) if layer in active]
        if len(rows) < len(self.layers):
            self.make_tokens()  # for snapshots taken while these layers were active
            self._set_layers([self.layers[row] for row in rows])
            for ring in (self.tokens, self._encoded):
                ring.keep(rows)

    def _set_layers(self, layers: Sequence[int]) -> None:
        """Set the layers that have tokens, and the rows of these layers in a snapshot.

        The rows are None if all layers of the snapshots have tokens.
        """
        self.layers = list(layers)
        rows = torch.tensor([self._watched.index(layer) for layer in layers], dtype=torch.int64)
        self._rows = move_to_device(self._device, rows) if len(rows) < len(self._watched) else None

    def state_dict(self) -> dict[str, Any]:
        return {
            "layers": list(self.layers),
            "snapshots": self._snapshots.state_dict(),
            "tokens": self.tokens.state_dict(),
            "encoded": self._encoded.state_dict(),
            "waiting": [(position.progress, position.rate) for position in self._waiting],
            "flops": self.flops,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._set_layers(state["layers"])
        self._snapshots.load_state_dict(state["snapshots"])
        self.tokens.load_state_dict(state["tokens"])
        self._encoded.load_state_dict(state["encoded"])
        self._waiting = [SchedulePosition(*pair) for pair in state["waiting"]]
        self.flops = state["flops"]
