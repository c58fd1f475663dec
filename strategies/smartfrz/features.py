"""Feature sets: named ways to compute the predictor's input tokens from tailored weights.

A token is computed once per snapshot, from this snapshot and earlier ones only. The key K and value
V that the predictor computes from a token therefore never change. `raw` is the paper's feature set:
the tailored weights themselves. The other sets describe how far the layer moved relative to the
spread of its weights. They do not depend on the order or the scale of the weights, so a predictor
can transfer from one network to another.
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
LEAST_RATE = 1e-3  # lower bound of a divisor: a cosine schedule ends close to rate 0
FLOOR = 1e-6  # added before a logarithm; a displacement below float32 resolution


class Snapshots(Protocol):
    """Sequence of the latest snapshots of a run. Its length is the number that is available."""

    def __len__(self) -> int: ...

    def look_back(self, steps: int) -> Tensor:
        """Return the snapshot (layers, n) taken `steps` snapshots before the newest."""
        ...


@dataclass(frozen=True)
class SchedulePosition:
    """Position of a run in its schedule when a snapshot is taken.

    progress: finished steps as a fraction of the run's steps.
    rate: learning rate as a fraction of the run's largest one.
    """

    progress: float
    rate: float

    @classmethod
    def of(cls, view: View) -> SchedulePosition:
        """Return the position after the latest step; before training, progress 0 and rate 1."""
        rate = view.lr / view.base_lr if view.step and view.base_lr else 1.0
        return cls(view.step / view.total_steps, rate)


@dataclass(frozen=True)
class FeatureSet:
    """Named way to compute tokens.

    doc: one-line description.
    width: function that returns the token width for n tailored weights.
    token: function that returns the tokens (layers, width) of the newest snapshot. Layers are in
        the order of the network and include those that froze during the run.
    """

    doc: str
    width: Callable[[int], int]
    token: Callable[[Snapshots, SchedulePosition], Tensor]


@dataclass(frozen=True)
class Moves:
    """Displacement of the layers' weights up to the newest snapshot w_j, for each horizon h.

    A horizon is a number of snapshots to look back.

    newest (layers, n): w_j.
    moved (horizons, layers, n): w_j − w_(j−h). If w_(j−h) does not exist, the oldest snapshot
        replaces it.
    size (horizons, layers): L2 norm of moved.
    spread (layers,): L2 norm of w_j after its mean is subtracted.
    """

    newest: Tensor
    moved: Tensor
    size: Tensor
    spread: Tensor

    @classmethod
    def of(cls, snapshots: Snapshots) -> Moves:
        """Return the displacements up to the newest snapshot."""
        newest, oldest = snapshots.look_back(0), len(snapshots) - 1
        earlier = torch.stack([snapshots.look_back(min(h, oldest)) for h in HORIZONS])
        moved = newest - earlier
        spread = (newest - newest.mean(1, keepdim=True)).norm(dim=1).clamp(min=1e-12)
        return cls(newest, moved, moved.norm(dim=2), spread)


Part = Callable[[Moves, SchedulePosition], Tensor]


def get_raw_weights(snapshots: Snapshots, position: SchedulePosition) -> Tensor:
    """Return the tailored weights of the newest snapshot (layers, n)."""
    return snapshots.look_back(0)


def compute_travel(moves: Moves, position: SchedulePosition) -> Tensor:
    """Return (layers, 9): five relative displacements as log10, then four straightness values.

    Relative displacement, one per horizon h: root mean square of w_j − w_(j−h), divided by the
    standard deviation of w_j. Straightness, for h = 1, 2, 4 and 8: cosine of the angle between two
    displacements, that of the last h snapshots and that of the h snapshots before. The cosine is
    near 1 for a layer that drifts and negative for a layer that only fluctuates.
    """
    last = moves.moved[:-1]
    before = moves.moved[1:] - last  # because each horizon is twice the previous one
    norms = moves.size[:-1] * before.norm(dim=2)
    straightness = (last * before).sum(2) / norms.clamp(min=1e-20)
    return torch.cat([_compute_log(moves.size / moves.spread), straightness]).T


def compute_quantiles(moves: Moves, position: SchedulePosition) -> Tensor:
    """Return log10 of quantiles of the relative displacement of single weights (layers, 12).

    The relative displacement of a weight is |w_j − w_(j−h)|, divided by the standard deviation of
    the layer's tailored weights. The 12 columns are six quantiles for h = 1 and six for h = 8.
    """
    n = moves.newest.shape[1]
    places = [round(q * (n - 1)) for q in QUANTILES]
    columns = []
    for h in (1, 8):
        ordered = moves.moved[HORIZONS.index(h)].abs().sort(dim=1).values
        chosen = torch.stack([ordered[:, i] for i in places])
        columns.append(_compute_log(chosen / (moves.spread / (n - 1) ** 0.5)))
    return torch.cat(columns).T


def compute_upstream(moves: Moves, position: SchedulePosition) -> Tensor:
    """Return log10 of the summed relative displacements of a layer and all earlier layers.

    Shape (layers, 5), one column per horizon. A summand is at most 10. Earlier layers are included
    because CKA compares outputs, and a layer's output also changes if earlier layers move. The
    displacement of a frozen layer still counts while a horizon includes steps before the freeze.
    """
    return _compute_log((moves.size / moves.spread).clamp(max=10).cumsum(1)).T


def compute_pace(moves: Moves, position: SchedulePosition) -> Tensor:
    """Return log10 of the relative displacement divided by the learning rate (layers, 5).

    There is one column per horizon. A layer moves less as the learning rate falls. The
    quotient corrects for this and reflects the size of the layer's gradients.
    """
    return _compute_log(moves.size / moves.spread / max(position.rate, LEAST_RATE)).T


def compute_progress(moves: Moves, position: SchedulePosition) -> Tensor:
    """Return the progress and the relative learning rate of the run (layers, 2).

    All rows are equal. The paper does not use these two values, but they are known in every run.
    """
    layers = len(moves.newest)
    known = [moves.newest.new_full((layers, 1), x) for x in (position.progress, position.rate)]
    return torch.cat(known, dim=1)


def _compute_log(relative: Tensor) -> Tensor:
    return (relative + FLOOR).log10().clamp(max=3.0)


def _join_parts(doc: str, *parts: tuple[int, Part]) -> FeatureSet:
    """Return a feature set whose token concatenates several parts.

    parts: width of a part and the function that computes it.
    """
    total = sum(width for width, _ in parts)

    def token(snapshots: Snapshots, position: SchedulePosition) -> Tensor:
        moves = Moves.of(snapshots)
        return torch.cat([part(moves, position) for _, part in parts], dim=1)

    return FeatureSet(doc, lambda n: total, token)


_TRAVEL = (2 * len(HORIZONS) - 1, compute_travel)
_QUANTILES = (2 * len(QUANTILES), compute_quantiles)
_UPSTREAM = (len(HORIZONS), compute_upstream)
_PACE = (len(HORIZONS), compute_pace)
_PROGRESS = (2, compute_progress)

FEATURES: Mapping[str, FeatureSet] = {
    "raw": FeatureSet("tailored weights, as in the paper", lambda n: n, get_raw_weights),
    "quantiles": _join_parts("quantiles of relative displacements", _QUANTILES),
    "travel": _join_parts("relative displacement and its straightness", _TRAVEL),
    "travel+progress": _join_parts("travel, progress and learning rate", _TRAVEL, _PROGRESS),
    "upstream": _join_parts("summed displacement of a layer and all earlier ones", _UPSTREAM),
    "upstream+progress": _join_parts("upstream, progress and learning rate", _UPSTREAM, _PROGRESS),
    "pace": _join_parts("displacement per learning rate, and travel", _PACE, _TRAVEL),
    "cascade": _join_parts("travel and upstream", _TRAVEL, _UPSTREAM),
    "cascade+progress": _join_parts(
        "cascade, progress and learning rate", _TRAVEL, _UPSTREAM, _PROGRESS
    ),
    "everything": _join_parts(
        "all parts except the raw weights", _TRAVEL, _UPSTREAM, _PACE, _QUANTILES, _PROGRESS
    ),
}
