"""Bytes that autograd saves for backward, measured and predicted, per freeze state."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from bench.costs.saved_memory import SavedModel, predict_saved_bytes
from bench.perf.harness import Harness, PerfSettings, make_spec
from bench.perf.measurement import Measurement, make_measurement
from bench.perf.subjects import PAPER

# SmartFRZ paper, Figure 5a: share of full training's memory that freezing saves.
CLAIMED = {"resnet50": 0.8, "vgg11": 0.5, "mobilenet_v2": 0.5}


def measure(settings: PerfSettings) -> Iterator[Measurement]:
    """Yield the ratio of measured to predicted bytes, and the predicted saving, per freeze state.

    For models in CLAIMED, also yield the measured saving of one more frozen prefix. This is the
    shortest prefix whose predicted saving reaches the claim.
    """
    for model in settings.select_models(PAPER):
        # The prediction assumes the dropout masks of a full training step.
        spec = make_spec(settings, model, frozen_dropout=True)
        harness = Harness(spec, settings.place)
        predicted = _predict_memory(harness)
        full = predicted.count_bytes((), settings.batch_size)
        for case, frozen in settings.select_states(len(harness.layers)).items():
            expected = predicted.count_bytes(frozen, settings.batch_size)
            harness.freeze(frozen)
            ratio, saving = harness.run.accounting.now.saved_bytes / expected, 1 - expected / full
            yield make_measurement("memory", model, case, "measured / predicted bytes", [ratio])
            yield make_measurement("memory", model, case, "reduction of saved bytes", [saving])
        if model in CLAIMED:
            yield _measure_drop(model, harness, predicted, settings.batch_size)


def _predict_memory(harness: Harness) -> SavedModel:
    inputs, labels = harness.run.batches.batch(0)

    def loss(logits: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits, labels[:1].expand(len(logits)))

    return predict_saved_bytes(harness.run.model, harness.layers, inputs, loss)


def _measure_drop(model: str, harness: Harness, predicted: SavedModel, samples: int) -> Measurement:
    """Measure the share of memory that a frozen prefix saves.

    The prefix is the shortest one whose predicted saving is at least the paper's claim in CLAIMED.
    """
    claim, count = CLAIMED[model], len(harness.layers)
    full = predicted.count_bytes((), samples)
    shares = [1 - predicted.count_bytes(range(n), samples) / full for n in range(count)]
    first = next((n for n, share in enumerate(shares) if share >= claim), count - 1)
    harness.freeze(range(first))
    measured = 1 - harness.run.accounting.now.saved_bytes / full
    case = f"prefix of {first} of {count} layers (to {harness.layers[first - 1].name})"
    return make_measurement(
        "memory", model, case, "reduction of saved bytes, measured", [measured], f">= {claim}"
    )
