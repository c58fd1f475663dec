"""Offline training of the predictor on labelled histories."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.errors import UserError
from bench.seeds import derive_seed, make_generator
from strategies.smartfrz.predictor import Predictor
from strategies.smartfrz.training.corpus import Histories

RISE = 0.1  # share of the steps in which OneCycleLR raises the learning rate
MOMENTUM = 0.9  # of SGD; the paper does not name its value


@dataclass(frozen=True)
class PredictorTraining:
    """Hyperparameters for training the predictor.

    The paper names SGD with momentum and batches of 32, and no other hyperparameter.

    window: W, in snapshots.
    epochs: passes over the histories.
    batch: histories per step. A history has several moments, and its tokens are encoded once for
        all of them.
    optimizer: "adamw", or "sgd" with momentum 0.9.
    standardise: whether tokens are standardised first.
    schedule: "one_cycle" for OneCycleLR, with lr as its maximum, or "constant". OneCycleLR also
        cycles the momentum (for AdamW, the first beta) between 0.85 and 0.95, its default range.
    clip: largest norm of a gradient; 0 means no limit.
    """

    window: int = 30
    epochs: int = 6
    batch: int = 16
    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    standardise: bool = True
    seed: int = 0
    schedule: str = "one_cycle"
    clip: float = 1.0

    def identity(self) -> str:
        """Return the text that a feature study hashes into its corpus id.

        Do not change the format of this text.
        """
        added = "".join(
            f", {name}={getattr(self, name)!r}"
            for name in ("schedule", "clip")  # younger than the first studies
            if getattr(self, name) != getattr(PredictorTraining, name)
        )
        return (
            f"Recipe(window={self.window!r}, epochs={self.epochs!r}, batch={self.batch!r}, "
            f"optimizer={self.optimizer!r}, lr={self.lr!r}, weight_decay={self.weight_decay!r}, "
            f"standardise={self.standardise!r}, seed={self.seed!r}{added})"
        )


def fit_predictor(histories: Histories, training: PredictorTraining) -> Predictor:
    """Fit a predictor to the labels by cross-entropy. Equal inputs give bit-identical weights.

    Raises UserError if the weights are not finite after the training.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("predictor", training.seed))
        network = Predictor(histories.tokens.shape[2])
    if training.standardise:
        _standardise(network, histories, training.window)
    generator = make_generator("predictor", "order", training.seed)
    count = len(histories.tokens)
    steps = training.epochs * math.ceil(count / training.batch)
    optimizer, schedule = _build_optimizer(network, training, steps)
    visible, queries = histories.mask_windows(training.window), histories.queries()
    for _ in range(training.epochs):
        for rows in torch.randperm(count, generator=generator).split(training.batch):
            known = histories.known[rows]
            if not known.any():
                continue  # the mean over no moments is NaN
            logits = _compute_logits(network, histories.tokens[rows], queries[rows], visible[rows])
            loss = F.cross_entropy(logits[known], histories.label[rows][known].long())
            optimizer.zero_grad()
            loss.backward()
            if training.clip:
                torch.nn.utils.clip_grad_norm_(network.parameters(), training.clip)
            optimizer.step()
            schedule.step()
    if not all(weight.isfinite().all() for weight in network.parameters()):
        raise UserError(
            f"the training of the predictor diverged with {training.optimizer} at lr "
            f"{training.lr:g}; give a smaller --lr, or a smaller --clip above 0"
        )
    return network.eval().requires_grad_(False)


def _build_optimizer(
    network: Predictor, training: PredictorTraining, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Return the optimizer, and its learning rate schedule over `steps` steps."""
    optimizer: torch.optim.Optimizer
    weights, decay = network.parameters(), training.weight_decay
    if training.optimizer == "adamw":
        optimizer = torch.optim.AdamW(weights, training.lr, weight_decay=decay)
    else:
        optimizer = torch.optim.SGD(weights, training.lr, momentum=MOMENTUM, weight_decay=decay)
    if training.schedule == "constant":
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    # OneCycleLR divides by the length of its warm-up, steps × pct_start − 1, which 10 steps make 0.
    share = RISE if RISE * steps != 1 else 1.5 * RISE
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, training.lr, steps, pct_start=share)
    return optimizer, schedule


def predict_probabilities(network: Predictor, histories: Histories, window: int) -> Tensor:
    """Return P(freeze) at every moment of every history (N, S)."""
    visible, queries = histories.mask_windows(window), histories.queries()
    parts = []
    with torch.no_grad():
        for rows in torch.arange(len(histories.tokens)).split(256):
            logits = _compute_logits(network, histories.tokens[rows], queries[rows], visible[rows])
            parts.append(logits.softmax(dim=2)[:, :, 1])
    return torch.cat(parts)


def _compute_logits(network: Predictor, tokens: Tensor, queries: Tensor, visible: Tensor) -> Tensor:
    keys, values = network.encode(tokens)
    return network.attend(queries, keys, values, visible)


def _standardise(network: Predictor, histories: Histories, window: int) -> None:
    """Set shift and scale so that each column of the tokens has mean 0 and standard deviation 1.

    The statistics cover the tokens in the window of at least one labelled moment.
    """
    seen = (histories.mask_windows(window) & histories.known[:, :, None]).any(dim=1)
    tokens = histories.tokens[seen]
    network.shift.copy_(tokens.mean(0))
    network.scale.copy_(1 / tokens.std(0).clamp(min=1e-3))
