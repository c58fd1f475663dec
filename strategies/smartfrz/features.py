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

from bench.view import View

HORIZONS = (1, 2, 4, 8, 16)
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
FLOOR = 1e-6  # a relative displacement below float32's grain


class Snapshots(Protocol):
    """The snapshots taken so far: how many can be looked at, and the one some steps back."""

    def __len__(self) -> int: ...

    def back(self, steps: int) -> Tensor:
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
    Layers are in the order of the network; only those that train are among them.
    """

    doc: str
    width: Callable[[int], int]
    token: Callable[[Snapshots, Moment], Tensor]


def raw(snapshots: Snapshots, moment: Moment) -> Tensor:
    """The tailored weights themselves (layers, n)."""
    return snapshots.back(0)


def travel(snapshots: Snapshots, moment: Moment) -> Tensor:
    """Log of the relative displacement over each horizon, and its straightness (layers, 9).

    Displacement: root mean square of w_j − w_(j−h), over the standard deviation of w_j.
    Straightness: cosine of the last h snapshots' displacement and that of the h before them. A
    layer that drifts goes straight, one that only jitters turns back.
    """
    newest = snapshots.back(0)
    moved = {h: newest - _earlier(snapshots, h) for h in HORIZONS}
    sizes = torch.stack([moved[h].norm(dim=1) for h in HORIZONS], dim=1)
    spread = (newest - newest.mean(1, keepdim=True)).norm(dim=1, keepdim=True)
    columns = [_log(sizes / spread.clamp(min=1e-12))]
    for h in HORIZONS[:-1]:
        last, before = moved[h], moved[2 * h] - moved[h]
        product = (last * before).sum(1, keepdim=True)
        norms = last.norm(dim=1, keepdim=True) * before.norm(dim=1, keepdim=True)
        columns.append(product / norms.clamp(min=1e-20))
    return torch.cat(columns, dim=1)


def quantiles(snapshots: Snapshots, moment: Moment) -> Tensor:
    """Log-quantiles of |w_j − w_(j−h)| over the layer's spread, for h = 1 and 8 (layers, 12)."""
    newest = snapshots.back(0)
    spread = newest.std(dim=1, keepdim=True).clamp(min=1e-12)
    places = [round(q * (newest.shape[1] - 1)) for q in QUANTILES]
    columns = []
    for h in (1, 8):
        ordered = (newest - _earlier(snapshots, h)).abs().sort(dim=1).values
        columns.append(_log(torch.stack([ordered[:, i] for i in places], dim=1) / spread))
    return torch.cat(columns, dim=1)


def progress(snapshots: Snapshots, moment: Moment) -> Tensor:
    """How far the run is and its learning rate (layers, 2): no paper's input, but known to it."""
    newest = snapshots.back(0)
    known = [newest.new_full((len(newest), 1), x) for x in (moment.progress, moment.rate)]
    return torch.cat(known, dim=1)


def upstream(snapshots: Snapshots, moment: Moment) -> Tensor:
    """Log of the sum of relative displacements of this and all earlier layers (layers, 5).

    A layer's output also changes because those before it move, and CKA judges outputs. Frozen
    layers do not move and are not among the snapshots.
    """
    newest = snapshots.back(0)
    spread = (newest - newest.mean(1, keepdim=True)).norm(dim=1).clamp(min=1e-12)
    moved = [(newest - _earlier(snapshots, h)).norm(dim=1) / spread for h in HORIZONS]
    return _log(torch.stack(moved, dim=1).clamp(max=10).cumsum(0))


def _earlier(snapshots: Snapshots, steps: int) -> Tensor:
    """The snapshot `steps` back, or the oldest there is."""
    return snapshots.back(min(steps, len(snapshots) - 1))


def _log(relative: Tensor) -> Tensor:
    return (relative + FLOOR).log10().clamp(max=3.0)


def _joined(doc: str, *parts: tuple[int, Callable[[Snapshots, Moment], Tensor]]) -> FeatureSet:
    """A feature set whose token is several parts side by side, given with their widths."""
    total = sum(width for width, _ in parts)

    def token(snapshots: Snapshots, moment: Moment) -> Tensor:
        return torch.cat([part(snapshots, moment) for _, part in parts], dim=1)

    return FeatureSet(doc, lambda n: total, token)


_TRAVEL = (2 * len(HORIZONS) - 1, travel)
_QUANTILES = (2 * len(QUANTILES), quantiles)
_UPSTREAM = (len(HORIZONS), upstream)
_PROGRESS = (2, progress)

FEATURES: Mapping[str, FeatureSet] = {
    "raw": FeatureSet("the tailored weights, as in the paper", lambda n: n, raw),
    "quantiles": _joined("log-quantiles of relative displacements", _QUANTILES),
    "travel": _joined("relative displacements and their straightness", _TRAVEL),
    "travel+progress": _joined("the same, and how far the run is", _TRAVEL, _PROGRESS),
    "upstream": _joined("how far a layer and all before it moved together", _UPSTREAM),
    "upstream+progress": _joined("the same, and how far the run is", _UPSTREAM, _PROGRESS),
    "cascade": _joined("travel of the layer and of all before it", _TRAVEL, _UPSTREAM),
    "cascade+progress": _joined("the same, and how far the run is", _TRAVEL, _UPSTREAM, _PROGRESS),
}
