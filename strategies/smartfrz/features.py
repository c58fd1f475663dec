"""What a token holds: from a layer's tailored weights to the predictor's input, by name.

A token is made once, when its snapshot is taken, from that snapshot and earlier ones alone, so
that its K and V never change. `raw` is the paper's. The others say how far the layer moved,
relative to the spread of its weights: neither the order nor the scale of the weights matters, so
that what is learned on one network may hold on another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from strategies.base import View

HORIZONS = (1, 2, 4, 8, 16)
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
LEAST_RATE = 1e-3  # a cosine's last steps have next to none
FLOOR = 1e-6  # a relative displacement below float32's grain


class Snapshots(Protocol):
    """The snapshots taken so far: how many can be looked at, and the one some steps back."""

    def __len__(self) -> int: ...

    def look_back(self, steps: int) -> Tensor:
        """The snapshot (layers, n) taken `steps` before the newest."""
        ...


@dataclass(frozen=True)
class Moment:
    """What a run knows of its schedule when a snapshot is taken.

    progress: fraction of the run's steps done. rate: learning rate as a fraction of its largest.
    """

    progress: float
    rate: float

    @classmethod
    def of(cls, view: View) -> Moment:
        """The moment after the step just made; before the first the rate is the largest."""
        rate = view.lr / view.base_lr if view.step and view.base_lr else 1.0
        return cls(view.step / view.total_steps, rate)


@dataclass(frozen=True)
class FeatureSet:
    """A way to make tokens.

    width: width of a token for n tailored weights. token: (layers, width) from the snapshots.
    Layers are in the order of the network, those that froze since the start among them.
    """

    doc: str
    width: Callable[[int], int]
    token: Callable[[Snapshots, Moment], Tensor]


@dataclass(frozen=True)
class Moves:
    """How the layers moved up to the newest snapshot, by horizon.

    newest (layers, n). moved (horizons, layers, n): w_j − w_(j−h), or from the oldest snapshot
    there is. size (horizons, layers): its norm. spread (layers,): norm of w_j around its mean.
    """

    newest: Tensor
    moved: Tensor
    size: Tensor
    spread: Tensor

    @classmethod
    def of(cls, snapshots: Snapshots) -> Moves:
        """The moves up to the newest snapshot."""
        newest, oldest = snapshots.look_back(0), len(snapshots) - 1
        earlier = torch.stack([snapshots.look_back(min(h, oldest)) for h in HORIZONS])
        moved = newest - earlier
        spread = (newest - newest.mean(1, keepdim=True)).norm(dim=1).clamp(min=1e-12)
        return cls(newest, moved, moved.norm(dim=2), spread)


Part = Callable[[Moves, Moment], Tensor]


def get_raw_weights(snapshots: Snapshots, moment: Moment) -> Tensor:
    """The tailored weights themselves (layers, n)."""
    return snapshots.look_back(0)


def compute_travel(moves: Moves, moment: Moment) -> Tensor:
    """Log of the relative displacement over each horizon, and its straightness (layers, 9).

    Displacement: root mean square of w_j − w_(j−h), over the standard deviation of w_j.
    Straightness: cosine of the last h snapshots' displacement and that of the h before them. A
    layer that drifts goes straight, one that only jitters turns back.
    """
    last = moves.moved[:-1]
    before = moves.moved[1:] - last  # each horizon is twice the one before
    norms = moves.size[:-1] * before.norm(dim=2)
    straightness = (last * before).sum(2) / norms.clamp(min=1e-20)
    return torch.cat([_compute_log(moves.size / moves.spread), straightness]).T


def compute_quantiles(moves: Moves, moment: Moment) -> Tensor:
    """Log-quantiles of |w_j − w_(j−h)| over the layer's spread, for h = 1 and 8 (layers, 12)."""
    n = moves.newest.shape[1]
    places = [round(q * (n - 1)) for q in QUANTILES]
    columns = []
    for h in (1, 8):
        ordered = moves.moved[HORIZONS.index(h)].abs().sort(dim=1).values
        chosen = torch.stack([ordered[:, i] for i in places])
        columns.append(_compute_log(chosen / (moves.spread / (n - 1) ** 0.5)))
    return torch.cat(columns).T


def compute_upstream(moves: Moves, moment: Moment) -> Tensor:
    """Log of the sum of relative displacements of this and all earlier layers (layers, 5).

    A layer's output also changes because those before it move, and CKA judges outputs. What a layer
    moved before it froze counts for as long as a horizon reaches back to it.
    """
    return _compute_log((moves.size / moves.spread).clamp(max=10).cumsum(1)).T


def compute_pace(moves: Moves, moment: Moment) -> Tensor:
    """Log of the relative displacement over each horizon, per learning rate (layers, 5).

    A layer slows down as the learning rate falls; what is left is the pull of its gradients.
    """
    return _compute_log(moves.size / moves.spread / max(moment.rate, LEAST_RATE)).T


def compute_progress(moves: Moves, moment: Moment) -> Tensor:
    """How far the run is and its learning rate (layers, 2): not the paper's, but known to it."""
    layers = len(moves.newest)
    known = [moves.newest.new_full((layers, 1), x) for x in (moment.progress, moment.rate)]
    return torch.cat(known, dim=1)


def _compute_log(relative: Tensor) -> Tensor:
    return (relative + FLOOR).log10().clamp(max=3.0)


def _join_parts(doc: str, *parts: tuple[int, Part]) -> FeatureSet:
    """A feature set whose token is several parts side by side, given with their widths."""
    total = sum(width for width, _ in parts)

    def token(snapshots: Snapshots, moment: Moment) -> Tensor:
        moves = Moves.of(snapshots)
        return torch.cat([part(moves, moment) for _, part in parts], dim=1)

    return FeatureSet(doc, lambda n: total, token)


_TRAVEL = (2 * len(HORIZONS) - 1, compute_travel)
_QUANTILES = (2 * len(QUANTILES), compute_quantiles)
_UPSTREAM = (len(HORIZONS), compute_upstream)
_PACE = (len(HORIZONS), compute_pace)
_PROGRESS = (2, compute_progress)

FEATURES: Mapping[str, FeatureSet] = {
    "raw": FeatureSet("the tailored weights, as in the paper", lambda n: n, get_raw_weights),
    "quantiles": _join_parts("log-quantiles of relative displacements", _QUANTILES),
    "travel": _join_parts("relative displacements and their straightness", _TRAVEL),
    "travel+progress": _join_parts("the same, and how far the run is", _TRAVEL, _PROGRESS),
    "upstream": _join_parts("how far a layer and all before it moved together", _UPSTREAM),
    "upstream+progress": _join_parts("the same, and how far the run is", _UPSTREAM, _PROGRESS),
    "pace": _join_parts("displacements per learning rate, and straightness", _PACE, _TRAVEL),
    "cascade": _join_parts("travel of the layer and of all before it", _TRAVEL, _UPSTREAM),
    "cascade+progress": _join_parts(
        "the same, and how far the run is", _TRAVEL, _UPSTREAM, _PROGRESS
    ),
    "everything": _join_parts(
        "cascade, pace, quantiles and progress", _TRAVEL, _UPSTREAM, _PACE, _QUANTILES, _PROGRESS
    ),
}
