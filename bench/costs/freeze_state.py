"""Measurements of the steps that a run takes with one set of frozen layers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

MEASURED_EVERY = 16  # steps between two memory measurements in the merged freeze state


@dataclass
class MergedSets:
    """Totals over the sets of frozen layers that have no freeze state of their own.

    flops: forward and backward FLOPs by convention ("exact", "executed", "paper"). They are whole
        numbers, so the order of the additions does not matter.
    measured_steps: number of measured steps with the largest batch so far.
    saved_bytes_sum: sum of the bytes that autograd saved in these steps.
    saved_bytes_peak: largest number of bytes that autograd saved in any measured step.
    """

    flops: dict[str, list[int]] = field(
        default_factory=lambda: {name: [0, 0] for name in ("exact", "executed", "paper")}
    )
    measured_steps: int = 0
    saved_bytes_sum: int = 0
    saved_bytes_peak: int = 0


@dataclass
class FreezeState:
    """Steps with the same set of frozen layers, and their measurements.

    A run that returns to a set continues its freeze state. A strategy that switches often may use
    more sets than a run records. One merged state then holds the steps of all further sets.

    from_step: number of finished steps when the state first began.
    frozen: sorted indices of the frozen layers.
    prefix: length of the frozen prefix, in layers. Both are None in the merged state.
    steps, samples: number of steps and of training samples in this state.
    step_s: seconds of each step.
    measured, measured_size: samples in the batch whose memory was measured, and their input size.
        The measured batch is the first full batch or, if input sizes vary, the largest batch.
    saved_bytes: bytes that autograd saved for the backward pass of the measured batch. In the
        merged state, this is the mean over the measured steps with the largest batch. At most every
        16th step is measured again.
    state_bytes: bytes of parameters, gradients, optimizer state and snapshots after the measured
        step. In the merged state, this is the largest number of any measured step.
    sizes: number of samples per input size (image side in pixels or padded text length in tokens).
    batches: number of batches per input size, over all processes.
    reused: samples whose prefix outputs came from the cache.
    prefix_exact, prefix_paper: forward FLOPs saved per reused sample, in each convention.
    sent: bytes of gradients that this process contributed to all-reduce.
    compile_s: seconds of the steps that compiled forward and backward; included in step_s.
    cuda_allocated, cuda_reserved: peaks of the CUDA allocator in bytes, None on a CPU. Memory that
        an earlier state or an evaluation reserved stays reserved, so `cuda_reserved` includes it.
    merged: totals of the merged state; None in all other states.

    In a run of several processes, samples, sizes and batches are totals over all processes. All
    other fields describe this process only.
    """

    from_step: int
    frozen: list[int] | None
    prefix: int | None
    steps: int = 0
    samples: int = 0
    step_s: list[float] = field(default_factory=list)
    measured: int = 0
    measured_size: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    batches: dict[int, int] = field(default_factory=dict)
    saved_bytes: int = 0
    state_bytes: int = 0
    reused: int = 0
    prefix_exact: float = 0.0
    prefix_paper: float = 0.0
    sent: int = 0
    compile_s: float = 0.0
    cuda_allocated: int | None = None
    cuda_reserved: int | None = None
    merged: MergedSets | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FreezeState:
        """Return the state whose `dataclasses.asdict` is `values`."""
        merged = values["merged"]
        return cls(**{**values, "merged": MergedSets(**merged) if merged else None})

    def needs_measurement(self, samples: int, size: int) -> bool:
        """Return whether to measure the memory of the next step.

        samples: number of samples of its batch.
        size: input size of these samples.
        """
        batch, measured = samples * size, self.measured * self.measured_size
        if batch > measured:
            return True
        return self.merged is not None and batch == measured and self.steps % MEASURED_EVERY == 0

    def record_memory(self, samples: int, size: int, saved_bytes: int, state_bytes: int) -> None:
        """Record the memory of a step, in bytes.

        samples: number of samples of its batch.
        size: input size of these samples.
        """
        if self.merged is None:
            self.saved_bytes, self.state_bytes = saved_bytes, state_bytes
        else:
            merged = self.merged
            if samples * size > self.measured * self.measured_size:  # forget smaller batches
                merged.measured_steps = merged.saved_bytes_sum = 0
            merged.measured_steps += 1
            merged.saved_bytes_sum += saved_bytes
            merged.saved_bytes_peak = max(merged.saved_bytes_peak, saved_bytes)
            self.saved_bytes = round(merged.saved_bytes_sum / merged.measured_steps)
            self.state_bytes = max(self.state_bytes, state_bytes)
        self.measured, self.measured_size = samples, size

    @property
    def saved_bytes_peak(self) -> int:
        """Largest number of bytes that autograd saved in a measured step."""
        return self.merged.saved_bytes_peak if self.merged else self.saved_bytes

    def make_row(self, sizes_vary: bool) -> dict[str, Any]:
        """Return the state as plain values, with its median step time.

        Fields that do not apply to the run are left out: `sizes`, `batches`, `measured_size`,
        `sent`, `compile_s` or `merged`.
        """
        row = asdict(self)
        times = row.pop("step_s")
        if not sizes_vary:
            del row["sizes"], row["batches"], row["measured_size"]
        for name in ("sent", "compile_s", "merged"):
            if not row[name]:
                del row[name]
        row["step_s_median"] = statistics.median(times) if times else None
        return row
