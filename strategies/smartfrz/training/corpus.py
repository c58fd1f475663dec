"""Training data of the predictor: token histories with labels, built from recorded runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from strategies.smartfrz.features import FEATURES, FLOOR, SchedulePosition
from strategies.smartfrz.history import SnapshotRing
from strategies.smartfrz.training.labels import Rule


@dataclass(frozen=True)
class RunOrigin:
    """Origin of a recording: id, model family and task of the run.

    The splits by family and by task hold out all runs of one family or task together.
    """

    run: str
    family: str
    task: str


@dataclass(frozen=True)
class Recording:
    """One recorded run.

    trace: the tensors that the strategy `Record` saved (see its docstring).
    """

    origin: RunOrigin
    trace: Mapping[str, Tensor]


@dataclass(frozen=True)
class Histories:
    """Histories of the N layers of all recordings: up to T tokens and up to S moments each.

    A moment is a time in a run at which one layer is classified.

    tokens (N, T, width): zero-padded.
    newest int64 (N, S): index of the newest token at a moment.
    label bool (N, S): whether the layer has converged.
    known bool (N, S): whether the moment has a label that counts.
    progress (N, S): fraction of training done, for the baselines.
    moved (N, S): log10 of the relative displacement within the window, for the baselines.
    run (N,): index of the layer's run in origins.
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
        """Return the histories of the given runs only.

        runs: indices into origins.
        """
        rows = torch.isin(self.run, torch.tensor(list(runs)))
        names = ("tokens", "newest", "label", "known", "progress", "moved", "run")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def describe_one_label(self) -> str:
        """Return a text if all labels are equal or none is known, otherwise ""."""
        known = int(self.known.sum())
        converged = int((self.label & self.known).sum())
        if converged not in (0, known):
            return ""
        return f"{converged} of {known} labels are 'converged'"

    def mask_windows(self, window: int) -> Tensor:
        """Return bool (N, S, T), True for the tokens in the window of each moment.

        The window holds the newest token at the moment and up to window − 1 tokens before it.
        """
        places = torch.arange(self.tokens.shape[1])
        newest = self.newest[:, :, None]
        return (places <= newest) & (places > newest - window)

    def queries(self) -> Tensor:
        """Return the newest token at each moment (N, S, width)."""
        index = self.newest[:, :, None].expand(-1, -1, self.tokens.shape[2])
        return self.tokens.gather(1, index)


def build_histories(
    recordings: Sequence[Recording], features: str, window: int, rule: Rule, unlabelled_share: float
) -> Histories:
    """Compute the tokens of the recordings as a run would, and the labels at CKA measurements.

    features: name of a feature set.
    window: W, in snapshots.
    unlabelled_share: fraction of a run, from its start, in which no moment is labelled.
    """
    parts = [
        _label_recording(i, recording, features, window, rule, unlabelled_share)
        for i, recording in enumerate(recordings)
    ]
    padded: dict[str, list[Tensor]] = {}
    for name in parts[0]:
        longest = max(part[name].shape[1] for part in parts) if name != "run" else 0
        padded[name] = [_pad(part[name], longest) for part in parts]
    tensors = {name: torch.cat(values) for name, values in padded.items()}
    return Histories(origins=tuple(r.origin for r in recordings), **tensors)


def _label_recording(
    index: int,
    recording: Recording,
    features: str,
    window: int,
    rule: Rule,
    unlabelled_share: float,
) -> dict[str, Tensor]:
    trace = recording.trace
    tokens, moved = make_tokens(trace, features, window)
    curve, times = rule.select(trace)
    label, known = rule.labels(curve)
    # The newest token at a CKA measurement is that of the last snapshot taken by then.
    newest = torch.searchsorted(trace["progress"], times.contiguous(), right=True) - 1
    known &= (times >= unlabelled_share)[:, None]
    layers = label.shape[1]
    return {
        "tokens": tokens.transpose(0, 1),
        "newest": newest.expand(layers, -1),
        "label": label.T,
        "known": known.T,
        "progress": times.float().expand(layers, -1),
        "moved": moved[newest].T,
        "run": torch.full((layers,), index),
    }


def make_tokens(trace: Mapping[str, Tensor], features: str, window: int) -> tuple[Tensor, Tensor]:
    """Return all tokens of a trace (T, L, width), computed one by one as in a run.

    The second value (T, L) is log10 of each layer's displacement within the window, relative to the
    spread of its weights.
    trace: see `Record`.
    """
    snapshots = trace["snapshots"]
    ring = SnapshotRing(window, snapshots.shape[1], snapshots.shape[2], snapshots.device)
    made = FEATURES[features].token
    tokens, moved = [], []
    positions = zip(trace["progress"].tolist(), trace["rate"].tolist(), strict=True)
    for snapshot, position in zip(snapshots, positions, strict=True):
        ring.push().copy_(snapshot)
        tokens.append(made(ring, SchedulePosition(*position)).clone())
        way = (snapshot - ring.look_back(len(ring) - 1)).norm(dim=1)
        spread = snapshot.std(dim=1).clamp(min=1e-12) * snapshot.shape[1] ** 0.5
        moved.append((way / spread + FLOOR).log10())
    return torch.stack(tokens), torch.stack(moved)


def _pad(tensor: Tensor, length: int) -> Tensor:
    """Pad the second dimension with zeros to a length; return one-dimensional tensors unchanged."""
    if tensor.dim() == 1 or tensor.shape[1] == length:
        return tensor
    shape = (tensor.shape[0], length - tensor.shape[1], *tensor.shape[2:])
    return torch.cat([tensor, tensor.new_zeros(shape)], dim=1)
