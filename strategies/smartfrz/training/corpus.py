"""From recorded runs to what the predictor is trained on: token histories with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from strategies.smartfrz.features import FEATURES, FLOOR, Moment
from strategies.smartfrz.history import SnapshotRing
from strategies.smartfrz.training.labels import Rule


@dataclass(frozen=True)
class RunOrigin:
    """Where a recording comes from: its run's id, and what is left out with it in a score."""

    run: str
    family: str
    task: str


@dataclass(frozen=True)
class Recording:
    """One recorded run. trace: what `Record` left; see there."""

    origin: RunOrigin
    trace: Mapping[str, Tensor]


@dataclass(frozen=True)
class Histories:
    """The layers of all recordings as N histories of up to T tokens, judged at up to S moments.

    tokens (N, T, width). newest int64 (N, S): the moment's newest token. label, known bool (N, S):
    whether the layer is converged, and whether the moment counts. progress, moved (N, S): fraction
    of training done and log relative displacement in the window, for the baselines. run (N,):
    index into origins.
    """

    tokens: Tensor
    newest: Tensor
    label: Tensor
    known: Tensor
    progress: Tensor
    moved: Tensor
    run: Tensor
    origins: tuple[RunOrigin, ...]

    def select_runs(self, runs: Sequence[int]) -> Histories:
        """Only the histories of some origins, given by their index."""
        rows = torch.isin(self.run, torch.tensor(list(runs)))
        names = ("tokens", "newest", "label", "known", "progress", "moved", "run")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def mask_windows(self, window: int) -> Tensor:
        """What each moment may look at, bool (N, S, T): its newest token and the W − 1 before."""
        places = torch.arange(self.tokens.shape[1])
        newest = self.newest[:, :, None]
        return (places <= newest) & (places > newest - window)

    def queries(self) -> Tensor:
        """The newest token of each moment (N, S, width)."""
        index = self.newest[:, :, None].expand(-1, -1, self.tokens.shape[2])
        return self.tokens.gather(1, index)


def build_histories(
    recordings: Sequence[Recording], features: str, window: int, rule: Rule, warmup: float
) -> Histories:
    """Make tokens as a run would, and label each probe but those in the first `warmup` of it.

    warmup: fraction of the run in which nothing is judged.
    """
    parts = [
        _label_recording(i, r, features, window, rule, warmup) for i, r in enumerate(recordings)
    ]
    padded: dict[str, list[Tensor]] = {}
    for name in parts[0]:
        longest = max(part[name].shape[1] for part in parts) if name != "run" else 0
        padded[name] = [_pad(part[name], longest) for part in parts]
    tensors = {name: torch.cat(values) for name, values in padded.items()}
    return Histories(origins=tuple(r.origin for r in recordings), **tensors)


def _label_recording(
    index: int, recording: Recording, features: str, window: int, rule: Rule, warmup: float
) -> dict[str, Tensor]:
    trace = recording.trace
    tokens, moved = make_tokens(trace, features, window)
    label, known = rule.labels(trace["cka"])
    probes = trace["probes"]
    # A probe is judged with the last snapshot taken before it or with it.
    newest = torch.searchsorted(trace["progress"], probes, right=True) - 1
    known &= (probes >= warmup)[:, None]
    layers = label.shape[1]
    return {
        "tokens": tokens.transpose(0, 1),
        "newest": newest.expand(layers, -1),
        "label": label.T,
        "known": known.T,
        "progress": probes.float().expand(layers, -1),
        "moved": moved[newest].T,
        "run": torch.full((layers,), index),
    }


def make_tokens(trace: Mapping[str, Tensor], features: str, window: int) -> tuple[Tensor, Tensor]:
    """All tokens of a trace (T, L, width), made one by one as in a run.

    Also the log of each layer's displacement in the window, relative to its spread (T, L).
    """
    snapshots = trace["snapshots"]
    ring = SnapshotRing(window, snapshots.shape[1], snapshots.shape[2], snapshots.device)
    made = FEATURES[features].token
    tokens, moved = [], []
    moments = zip(trace["progress"].tolist(), trace["rate"].tolist(), strict=True)
    for snapshot, moment in zip(snapshots, moments, strict=True):
        ring.push().copy_(snapshot)
        tokens.append(made(ring, Moment(*moment)).clone())
        way = (snapshot - ring.look_back(len(ring) - 1)).norm(dim=1)
        spread = snapshot.std(dim=1).clamp(min=1e-12) * snapshot.shape[1] ** 0.5
        moved.append((way / spread + FLOOR).log10())
    return torch.stack(tokens), torch.stack(moved)


def _pad(tensor: Tensor, length: int) -> Tensor:
    """Zeros behind the second dimension up to a length; one-dimensional tensors stay."""
    if tensor.dim() == 1 or tensor.shape[1] == length:
        return tensor
    shape = (tensor.shape[0], length - tensor.shape[1], *tensor.shape[2:])
    return torch.cat([tensor, tensor.new_zeros(shape)], dim=1)
