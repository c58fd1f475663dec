"""Evaluation of a trained model: its score, and the outcome of each evaluation sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.batches.order import EVALUATION_BATCH, IGNORED_LABEL
from bench.data.catalogue import find_fold
from bench.data.interface.metrics import METRICS, compute_loss_score
from bench.layers.activations import get_logits
from bench.results.evaluation_file import SampleOutcomes

if TYPE_CHECKING:
    from bench.training.run_state import RunState

LOSS_UNIT = 2.0**-32  # nats; losses are gathered as whole numbers, next to classes


def evaluate(run: RunState) -> None:
    """Evaluate a run, and set its `score`, `scored` and `evaluation`."""
    with run.clocks.time_region("evaluate"):
        numbers, predicted, truth, *losses = _collect_predictions(run)
        run.scored, run.score = len(truth), _compute_score(run, predicted, truth, *losses)
        sources = run.batches.eval_sources
        if sources is not None:
            sources = sources[numbers]
        elif len(numbers.unique()) < len(numbers):  # several words of each text
            sources = numbers[:, None]
        run.evaluation = SampleOutcomes(
            (predicted == truth).numpy(),
            (truth == 1).numpy() if run.batches.metric == "matthews" else None,
            None if sources is None else sources.numpy(),
            find_fold(run.spec.data, run.spec.seed),
            (LOSS_UNIT * losses[0]).numpy().astype("float32") if losses else None,
        )


def score_part(run: RunState, samples: int) -> float:
    """Return the score on a part of the evaluation split, in points.

    A point is one percent. For the metric "loss", the score is −100 × the mean loss in nats.
    samples: number of samples, balanced over the classes; 0 = all.
    """
    with run.clocks.time_region("evaluate"):
        _, *predictions = _collect_predictions(run, samples)
        return _compute_score(run, *predictions)


def _collect_predictions(run: RunState, samples: int = 0) -> Tensor:
    """Return the transposed rows of `_list_predictions` for all batches, sorted by sample.

    The shape is (3, N), or (4, N) with losses, for N labels. Labels equal to IGNORED_LABEL are left
    out. The device is synchronised only after all batches are queued.
    """
    with torch.inference_mode(), run.autocast():
        run.group.share_buffers()
        run.model.eval()
        batches = []
        for number, (inputs, labels) in enumerate(run.batches.evaluation(samples)):
            logits = get_logits(run.model(*inputs))
            batch = run.group.rank + number * run.group.size  # batches are dealt out in turn
            first = batch * EVALUATION_BATCH
            batches.append(_list_predictions(logits, labels, first, run.batches.metric == "loss"))
        rows = run.group.gather_rows(batches).cpu()
    labelled = rows[rows[:, 2] != IGNORED_LABEL]
    return labelled[labelled[:, 0].argsort(stable=True)].T


def _list_predictions(logits: Tensor, labels: Tensor, first: int, with_loss: bool) -> Tensor:
    """Return one row per label, int64: number of the sample, predicted class, label.

    logits: (B, C), or (B, L, C) for words.
    labels: (B,) or (B, L).
    first: number of the first sample of the batch.
    with_loss: whether to add a fourth column with the loss, in units of LOSS_UNIT nats.
    """
    numbers = torch.arange(first, first + len(labels), device=labels.device)
    numbers = numbers.view(-1, *[1] * (labels.dim() - 1)).expand_as(labels)
    columns = [numbers, logits.argmax(-1), labels]
    if with_loss:
        flat = logits.float().flatten(0, -2), labels.flatten()
        losses = F.cross_entropy(*flat, ignore_index=IGNORED_LABEL, reduction="none")
        columns.append((losses / LOSS_UNIT).round().long().view_as(labels))
    return torch.stack(columns, dim=-1).flatten(0, -2)


def _compute_score(
    run: RunState, predicted: Tensor, truth: Tensor, losses: Tensor | None = None
) -> float:
    """Return the score of predictions (N,).

    losses: for the metric "loss", in LOSS_UNIT.
    """
    if losses is not None:
        return compute_loss_score(LOSS_UNIT * losses)
    return METRICS[run.batches.metric](predicted, truth)
