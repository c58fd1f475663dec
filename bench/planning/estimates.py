"""Estimates of run durations and of full-training FLOPs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from bench.machine.device_speed import A100, CORE
from bench.planning.plan import Plan
from bench.results.run_folder import RunFolder
from bench.spec import Spec

ENOUGH = 20  # number of comparable finished runs to read for an estimate


class DurationEstimator:
    """Estimator of run durations, from comparable finished runs or else from FLOPs."""

    def __init__(self, plan: Plan, results: Path, gpu: float = A100.flops) -> None:
        """Read the durations of finished runs of the plan.

        gpu: FLOP/s that a GPU sustains in training.
        """
        self._gpu = gpu
        self._seen: dict[tuple[object, ...], list[float]] = {}
        for spec in plan.specs:
            if spec.id in plan.done and len(self._find_similar(spec)) < ENOUGH:
                result = RunFolder(results, spec.id).result()
                self.learn(spec, result["clocks"]["whole"])

    def learn(self, spec: Spec, seconds: float) -> None:
        """Record the duration of a finished run, in seconds."""
        for key in _make_group_keys(spec):
            self._seen.setdefault(key, []).append(seconds)

    def _find_similar(self, spec: Spec) -> list[float]:
        return self._seen.get(_make_group_keys(spec)[0], [])

    def estimate_seconds(self, spec: Spec) -> float:
        """Return the expected duration of a run, in seconds."""
        for key in _make_group_keys(spec):
            if seen := self._seen.get(key):
                return sum(seen) / len(seen)
        each = self._gpu if spec.device == "cuda" else CORE.flops
        return count_full_flops(spec) / (each * spec.replicas) + 2.0


def _make_group_keys(spec: Spec) -> list[tuple[object, ...]]:
    """Return the keys of groups of comparable runs, the most similar group first."""
    how = (spec.device, spec.precision, spec.replicas)
    task = (spec.model, spec.data, spec.epochs, spec.resolution, spec.train_limit, *how)
    return [(*task, spec.strategy_name), task]


def count_full_flops(spec: Spec) -> float:
    """Return the exact FLOPs of full training; for texts, assume batches of the typical length."""
    root = spec.paths.get("data", "")
    samples, each = _compute_full_cost(
        spec.model,
        spec.data,
        root,
        spec.resolution,
        spec.length,
        spec.batch_size,
        spec.checkpointing,
    )
    return each * min(samples, spec.train_limit or samples) * spec.epochs


@lru_cache(maxsize=256)  # listing an image folder is slow, and the live display asks often
def _compute_full_cost(
    model: str,
    data: str,
    root: str,
    resolution: int,
    length: int,
    batch_size: int,
    checkpointing: bool,
) -> tuple[int, float]:
    """Return the number of training samples, and the FLOPs of a full-training step per sample."""
    from bench.data.catalogue import describe
    from bench.models.flops_table import FULL_FLOPS

    facts = describe(data, root)
    size = min(facts.length, length) or resolution
    each = None if checkpointing else FULL_FLOPS.get((model, facts.classes, size))
    if each is None:
        from bench.models.anatomy import analyze_model

        flops = analyze_model(model, facts.classes, size, checkpointing=checkpointing)[1]
        each = flops.with_batch(batch_size).exact().total
    return facts.train_samples, each
