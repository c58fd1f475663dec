"""SmartFRZ (Li et al. 2023): freezing by a trained predictor that reads weight histories."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.errors import UserError
from strategies.base import Cadence, Choice, Decision, Integer, PerEpoch, Real, Strategy, View
from strategies.smartfrz.features import FEATURES
from strategies.smartfrz.predictor_file import (
    DEFAULT_FEATURES,
    SHIPPED_FEATURES,
    Trained,
    find_predictor,
    load_predictor,
)
from strategies.smartfrz.token_history import TokenHistory


class SmartFRZ(Strategy):
    """SmartFRZ: freeze a layer if a trained predictor says so, from the history of its weights.

    A ring buffer keeps the last W snapshots of n weights per layer. The feature set turns each
    snapshot into a token. At a freezing stage, one call of the predictor returns P(freeze) for all
    active layers. A layer freezes if its P(freeze) reaches the threshold. A layer may freeze before
    an earlier layer does.
    The network is that of the paper (section 3.3). The paper's feature set is `raw`, and its
    threshold is 0.5. The paper does not state how often snapshots are taken. A predictor on `raw`
    is hardly better than chance (AUROC 0.53) on tasks and model families that are held out from its
    training. The default feature set therefore differs from the paper's.
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
            choices=tuple(SHIPPED_FEATURES),
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

    def check_files(self, paths: Mapping[str, Path]) -> None:
        load_predictor(paths["predictor"], torch.device("cpu"))

    def start(self, view: View) -> None:
        trained = self._load_predictor(view.artifacts["predictor"], view.device)
        self._limit = self.threshold or float(trained.provenance["threshold"])
        self._history = TokenHistory(
            view,
            trained.network,
            self.features,
            self.tailored,
            self.window,
            most_waiting=math.ceil(self.snapshots_per_epoch / self.stages_per_epoch),
        )
        self._history.take_snapshot(view)

    def _load_predictor(self, path: Path, device: torch.device) -> Trained:
        """Load a predictor. Raise UserError if it was trained for other options."""
        trained = load_predictor(path, device)
        for key in ("window", "tailored", "features", "snapshots_per_epoch"):
            if trained.provenance[key] != getattr(self, key):
                theirs = trained.provenance[key]
                raise UserError(
                    f"predictor {path}: trained for {key} = {theirs!r}, not {getattr(self, key)!r};"
                    f" set {key} = {theirs}, or train another predictor (see "
                    "`freezebench predictor train --help`)"
                )
        return trained

    def observations(self) -> Cadence:
        return PerEpoch(self.snapshots_per_epoch)

    def observe(self, view: View) -> None:
        self._history.drop_frozen(view)
        if self._history.layers:
            self._history.take_snapshot(view)

    def stages(self) -> Cadence:
        return PerEpoch(self.stages_per_epoch)

    def decide(self, view: View) -> Sequence[Decision]:
        self._history.drop_frozen(view)
        self._history.make_tokens()
        if not self._history.layers or view.epoch < self.warmup:
            return ()
        scores = self._history.compute_scores()
        return [
            Decision(layer, score >= self._limit, score, self._limit)
            for layer, score in zip(self._history.layers, scores, strict=True)
        ]

    def state_dict(self) -> dict[str, Any]:
        return self._history.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._history.load_state_dict(state)

    def cost(self) -> float:
        return self._history.flops
