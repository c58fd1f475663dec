"""SmartFRZ (Li et al. 2023): a trained predictor decides from the history of a layer's weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.errors import UserError
from bench.machine.to_device import move_to_device
from strategies.base import Cadence, Choice, Integer, PerEpoch, Real, Strategy, Verdict, View
from strategies.smartfrz.features import FEATURES, Moment
from strategies.smartfrz.history import Past, SnapshotRing
from strategies.smartfrz.predictor import KEY, count_judging_flops
from strategies.smartfrz.predictor_file import (
    DEFAULT_FEATURES,
    RECIPES,
    find_predictor,
    load_predictor,
)
from strategies.smartfrz.tailoring import Tailor


class SmartFRZ(Strategy):
    """SmartFRZ: freeze a layer when a trained predictor recommends it from its weight history.

    A ring keeps the last W snapshots of n weights per layer. The feature set turns each snapshot
    into a token. At a freezing stage one call of the predictor returns P(freeze) for all active
    layers. A layer may freeze before an earlier layer does.
    The network is the paper's (section 3.3). The paper's feature set is `raw`, and its threshold
    0.5. It does not state how often snapshots are taken. On tasks and model families that are
    held out from its training, a predictor on `raw` is hardly better than chance (AUROC 0.53), so
    the default feature set differs.
    The paper's form is recipe = "published" with features = "raw", threshold = 0.5,
    stages_per_epoch = 1 and warmup = 0. Its stages are at the ends of epochs, as in Table 1.
    """

    name = "smartfrz"
    look = ("#0072B2", "D")
    made_for = ("convolutional network", "vision transformer", "text classifier")
    options = {
        "window": Integer(30, low=2, high=1000, doc="W, snapshots in the predictor's window"),
        "tailored": Integer(1024, low=8, high=65536, doc="n, weights sampled per layer"),
        "snapshots_per_epoch": Integer(6, low=1, high=1000, doc="snapshots per epoch"),
        "stages_per_epoch": Integer(2, low=1, high=1000, doc="freezing stages per epoch"),
        "warmup": Real(1.0, low=0, high=1e6, doc="epochs before the first decision"),
        "features": Choice(
            DEFAULT_FEATURES, choices=tuple(FEATURES), doc="feature set of the predictor's tokens"
        ),
        "threshold": Real(
            0.0,
            low=0,
            high=1,
            doc="P(freeze) from which a layer freezes; 0: calibrated value of the predictor file; "
            "0.5: argmax, as in the paper",
        ),
        "recipe": Choice(
            "default",
            choices=tuple(RECIPES),
            doc="shipped predictor to use; published: trained as in the paper, for features = raw",
        ),
    }

    window: int
    tailored: int
    snapshots_per_epoch: int
    stages_per_epoch: int
    warmup: float
    features: str
    threshold: float
    recipe: str

    def files(self, profile: str) -> Mapping[str, Path]:
        size = self.features, self.window, self.tailored
        return {"predictor": find_predictor(profile, *size, recipe=self.recipe)}

    def start(self, view: View) -> None:
        path = view.artifacts["predictor"]
        trained = load_predictor(path, view.device)
        for key in ("window", "tailored", "features", "snapshots_per_epoch"):
            if trained.provenance[key] != getattr(self, key):
                theirs = trained.provenance[key]
                raise UserError(
                    f"predictor {path}: trained for {key} = {theirs!r}, not {getattr(self, key)!r};"
                    f" set {key} = {theirs}, or train another predictor (see "
                    "`freezebench predictor train --help`)"
                )
        self._network = trained.network
        self._limit = self.threshold or float(trained.provenance["threshold"])
        self._watched, self._device = view.active, view.device
        self._judge(self._watched)
        self._tailor = Tailor(
            [view.weights(layer.index)[0] for layer in view.layers],
            self.tailored,
            view.generator("tailoring"),
        )
        rows, width = len(self._watched), FEATURES[self.features].width(self.tailored)
        # Tokens are computed in one go at the freezing stages. Between training steps, with cold
        # caches, each would take twice as long.
        self._room = math.ceil(self.snapshots_per_epoch / self.stages_per_epoch)
        self._waiting: list[Moment] = []
        self._snapshots = SnapshotRing(self.window + self._room, rows, self.tailored, view.device)
        self._tokens = SnapshotRing(self.window, rows, width, view.device)
        self._encoded = SnapshotRing(
            self.window, rows, 2 * KEY, view.device
        )  # K and V, concatenated
        self._flops = 0.0
        self._take_snapshot(view)

    def observations(self) -> Cadence:
        return PerEpoch(self.snapshots_per_epoch)

    def observe(self, view: View) -> None:
        self._drop_frozen(view)
        if self._layers:
            self._take_snapshot(view)

    def stages(self) -> Cadence:
        return PerEpoch(self.stages_per_epoch)

    def decide(self, view: View) -> Sequence[Verdict]:
        self._drop_frozen(view)
        self._make_tokens()
        if not self._layers or view.epoch < self.warmup:
            return ()
        self._encode()
        encoded, filled = self._encoded.get_unordered()
        keys, values = encoded.transpose(0, 1).split(KEY, dim=2)
        with torch.no_grad():
            logits = self._network.attend(self._tokens.look_back(0)[:, None], keys, values, filled)
        scores = logits[:, 0].softmax(dim=1)[:, 1].tolist()  # the only wait for the device
        return [
            Verdict(layer, score >= self._limit, score, self._limit)
            for layer, score in zip(self._layers, scores, strict=True)
        ]

    def _take_snapshot(self, view: View) -> None:
        """Take a snapshot of all layers but the head.

        Frozen layers are included, because their displacement before the freeze enters the tokens
        of later layers.
        """
        self._tailor.take(self._watched, self._snapshots.push())
        self._waiting.append(Moment.of(view))
        if len(self._waiting) > self._room:
            self._make_tokens()

    def _make_tokens(self) -> None:
        """Compute the missing tokens, each from the snapshots that existed at its time."""
        for steps, moment in zip(reversed(range(len(self._waiting))), self._waiting, strict=True):
            then = Past(self._snapshots, steps, self.window)
            tokens = FEATURES[self.features].token(then, moment)
            self._tokens.push().copy_(tokens if self._rows is None else tokens[self._rows])
        self._waiting.clear()

    def _encode(self) -> None:
        """Compute K and V of the tokens added since the last call."""
        fresh = min(self._tokens.count - self._encoded.count, self.window)
        with torch.no_grad():
            pairs = torch.cat(self._network.encode(self._tokens.last(fresh)), dim=2)
        self._encoded.count = self._tokens.count - fresh
        for pair in pairs:
            self._encoded.push().copy_(pair)
        width = self._network.inputs
        self._flops += len(self._layers) * count_judging_flops(width, len(self._tokens), fresh)

    def _drop_frozen(self, view: View) -> None:
        """Drop the tokens of layers that were frozen since the last call."""
        active = set(view.active)
        rows = [row for row, layer in enumerate(self._layers) if layer in active]
        if len(rows) < len(self._layers):
            self._make_tokens()  # for snapshots taken while these layers were active
            self._judge([self._layers[row] for row in rows])
            for ring in (self._tokens, self._encoded):
                ring.keep(rows)

    def _judge(self, layers: Sequence[int]) -> None:
        """Set the layers that have tokens, and their rows in a snapshot (None for all rows)."""
        self._layers = list(layers)
        rows = torch.tensor([self._watched.index(layer) for layer in layers], dtype=torch.int64)
        self._rows = move_to_device(self._device, rows) if len(rows) < len(self._watched) else None

    def state_dict(self) -> dict[str, Any]:
        return {
            "layers": list(self._layers),
            "snapshots": self._snapshots.state_dict(),
            "tokens": self._tokens.state_dict(),
            "encoded": self._encoded.state_dict(),
            "waiting": [(moment.progress, moment.rate) for moment in self._waiting],
            "flops": self._flops,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._judge(state["layers"])
        self._snapshots.load_state_dict(state["snapshots"])
        self._tokens.load_state_dict(state["tokens"])
        self._encoded.load_state_dict(state["encoded"])
        self._waiting = [Moment(*pair) for pair in state["waiting"]]
        self._flops = state["flops"]

    def cost(self) -> float:
        return self._flops

    def trace(self) -> dict[str, Tensor]:
        return {}
