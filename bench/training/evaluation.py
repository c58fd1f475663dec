"""Evaluation of a trained model: its score, and whether each evaluation sample is correct."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bench.batches.order import EVALUATION_BATCH, NOT_ASKED
from bench.data.catalogue import find_fold
from bench.data.interface.metrics import METRICS
from bench.layers.activations import get_logits
from bench.results.evaluation_file import SampleOutcomes

if TYPE_CHECKING:
    from bench.training.run_state import RunState


def evaluate(run: RunState) -> None:
    """Compute the score on the evaluation split, in percent, and the outcome of every sample.

    The device is not synchronised before all batches are queued.
    """
    with run.clocks.time_region("evaluate"), torch.inference_mode(), run.autocast():
        run.group.share_buffers()
        run.model.eval()
        answers = []
        for number, (inputs, labels) in enumerate(run.batches.evaluation()):
            predicted = get_logits(run.model(*inputs)).argmax(-1)
            batch = run.group.rank + number * run.group.size  # batches are dealt out in turn
            answers.append(_list_answers(predicted, labels, batch * EVALUATION_BATCH))
        _record_answers(run, run.group.gather_rows(answers).cpu())


def _list_answers(predicted: Tensor, labels: Tensor, first: int) -> Tensor:
    """Return one row per label, int64 (rows, 3): number of the sample, predicted class, label.

    predicted, labels: (B,), or (B, L) for words. first: number of the batch's first sample.
    """
    numbers = torch.arange(first, first + len(labels), device=labels.device)
    numbers = numbers.view(-1, *[1] * (labels.dim() - 1)).expand_as(labels)
    return torch.stack([numbers, predicted, labels], dim=-1).flatten(0, -2)


def _record_answers(run: RunState, answers: Tensor) -> None:
    """Set score, scored and evaluation of a run. answers: rows of `_list_answers` in any order."""
    asked = answers[answers[:, 2] != NOT_ASKED]
    numbers, predicted, truth = asked[asked[:, 0].argsort(stable=True)].T
    run.scored = len(truth)
    run.score = METRICS[run.batches.metric](predicted, truth)
    sources = run.batches.eval_clusters
    if sources is not None:
        sources = sources[numbers]
    elif len(numbers.unique()) < len(numbers):  # several words of each text
        sources = numbers[:, None]
    run.evaluation = SampleOutcomes(
        (predicted == truth).numpy(),
        (truth == 1).numpy() if run.batches.metric == "matthews" else None,
        None if sources is None else sources.numpy(),
        find_fold(run.spec.data, run.spec.seed),
    )
