"""Offline training of the predictor on labelled histories."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.seeds import derive_seed, make_generator
from strategies.smartfrz.predictor import Predictor
from strategies.smartfrz.training.corpus import Histories


@dataclass(frozen=True)
class PredictorRecipe:
    """Hyperparameters for training the predictor.

    The learning rate follows OneCycleLR, with lr as its maximum. Gradients are clipped to norm 1.
    window: W, in snapshots. optimizer: "sgd", as in the paper, or "adamw". By its default,
    OneCycleLR also cycles the momentum (for AdamW, the first beta) between 0.85 and 0.95.
    batch: histories (not moments) per step, because the tokens of a history are encoded once for
    all its moments. standardise: whether tokens are standardised first.
    """

    window: int = 30
    epochs: int = 6
    batch: int = 16
    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    standardise: bool = True
    seed: int = 0

    def identity(self) -> str:
        """Return the text that a feature study hashes into its corpus id. Do not change it."""
        return (
            f"Recipe(window={self.window!r}, epochs={self.epochs!r}, batch={self.batch!r}, "
            f"optimizer={self.optimizer!r}, lr={self.lr!r}, weight_decay={self.weight_decay!r}, "
            f"standardise={self.standardise!r}, seed={self.seed!r})"
        )


def fit_predictor(histories: Histories, recipe: PredictorRecipe) -> Predictor:
    """Fit a predictor to the labels by cross-entropy. Equal inputs give bit-identical weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("predictor", recipe.seed))
        network = Predictor(histories.tokens.shape[2])
    if recipe.standardise:
        _standardise(network, histories, recipe.window)
    if recipe.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(
            network.parameters(), recipe.lr, weight_decay=recipe.weight_decay
        )
    else:
        optimizer = torch.optim.SGD(
            network.parameters(), recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay
        )
    generator = make_generator("predictor", "order", recipe.seed)
    count = len(histories.tokens)
    steps = recipe.epochs * math.ceil(count / recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.lr, steps, pct_start=0.1)
    visible, queries = histories.mask_windows(recipe.window), histories.queries()
    for _ in range(recipe.epochs):
        for rows in torch.randperm(count, generator=generator).split(recipe.batch):
            known = histories.known[rows]
            logits = _compute_logits(network, histories.tokens[rows], queries[rows], visible[rows])
            loss = F.cross_entropy(logits[known], histories.label[rows][known].long())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network.eval().requires_grad_(False)


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
    """Set shift and scale so that token columns have mean 0 and standard deviation 1.

    The statistics cover the tokens in the window of at least one labelled moment.
    """
    seen = (histories.mask_windows(window) & histories.known[:, :, None]).any(dim=1)
    tokens = histories.tokens[seen]
    network.shift.copy_(tokens.mean(0))
    network.scale.copy_(1 / tokens.std(0).clamp(min=1e-3))
