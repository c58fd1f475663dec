"""Running totals of one run: FLOPs per convention, and step times and memory per freeze state."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from bench.costs.flops import Flops, count_frozen_prefix
from bench.costs.flops_by_input_size import FlopsBySize


@dataclass
class FreezeState:
    """Consecutive steps with the same set of frozen layers, and their measurements.

    from_step: number of finished steps when the state began.
    frozen: sorted indices of the frozen layers. prefix: length of the frozen prefix, in layers.
    steps, samples: number of steps and of training samples in this state.
    step_s: seconds of each step.
    measured, measured_size: samples in the batch whose memory was measured, and their input size.
        This is the first full batch or, if input sizes vary, the largest batch.
    saved_bytes: bytes that autograd saved for the backward pass of the measured batch.
    state_bytes: bytes of parameters, gradients and optimizer state after the measured step.
    sizes: number of samples per input size (image side or padded text length).
    reused: samples whose prefix outputs came from the cache.
    prefix_exact, prefix_paper: forward FLOPs saved per reused sample, in each convention.
    sent: bytes of gradients that this process contributed to all-reduce.
    compile_s: seconds of the steps that compiled forward and backward; included in step_s.
    cuda_allocated, cuda_reserved: peaks of the CUDA allocator in bytes, None on a CPU. Memory that
        was reserved in an earlier state stays reserved and counts here too.

    In a run of several processes, samples and sizes are totals over all processes. The other
    fields describe this process only.
    """

    from_step: int
    frozen: list[int]
    prefix: int
    steps: int = 0
    samples: int = 0
    step_s: list[float] = field(default_factory=list)
    measured: int = 0
    measured_size: int = 0
    sizes: dict[int, int] = field(default_factory=dict)
    saved_bytes: int = 0
    state_bytes: int = 0
    reused: int = 0
    prefix_exact: float = 0.0
    prefix_paper: float = 0.0
    sent: int = 0
    compile_s: float = 0.0
    cuda_allocated: int | None = None
    cuda_reserved: int | None = None

    def is_outgrown_by(self, samples: int, size: int) -> bool:
        """Return whether a batch is larger than the batch whose memory was measured."""
        return samples * size > self.measured * self.measured_size


class Accounting:
    """Running totals of a run, updated after every step on the CPU."""

    def __init__(self, flops: FlopsBySize, device: torch.device) -> None:
        self._flops, self._device = flops, device
        self._layers = len(flops.mean.forward)
        self.states: list[FreezeState] = []
        self._pending: list[tuple[FreezeState, Any, Any]] = []
        self._began: Any = None
        self._sent = 0

    @property
    def now(self) -> FreezeState:
        """The current freeze state."""
        return self.states[-1]

    def enter_state(self, step: int, frozen: frozenset[int]) -> None:
        """Begin a new freeze state after `step` finished steps.

        A previous state without any steps is dropped.
        """
        self.read_device()
        if self.states and self.now.steps == 0:
            self.states.pop()
        prefix = count_frozen_prefix(frozen, self._layers)
        self.states.append(FreezeState(step, sorted(frozen), prefix))
        self.forget_peaks()

    def forget_peaks(self) -> None:
        """Reset the peak statistics of the CUDA allocator.

        The reserved memory is not released. Releasing and re-reserving it would slow down methods
        that freeze often by about 1 %, and full training not at all, which would bias the
        comparison.
        """
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def begin_step(self) -> None:
        """Start timing a step. On CUDA, record an event instead of synchronising."""
        if self._device.type == "cuda":
            self._began = torch.cuda.Event(enable_timing=True)
            self._began.record()
        else:
            self._began = time.perf_counter()

    def end_step(self, samples: int, size: int, sent: int = 0) -> None:
        """Stop timing a step and count its `samples` samples of the given input size.

        sent: bytes of gradients that this process has contributed to all-reduce since it started.
        """
        state = self.now
        state.sent += sent - self._sent
        self._sent = sent
        state.steps += 1
        state.samples += samples
        state.sizes[size] = state.sizes.get(size, 0) + samples
        if self._device.type == "cuda":
            ended = torch.cuda.Event(enable_timing=True)
            ended.record()
            self._pending.append((state, self._began, ended))
        else:
            state.step_s.append(time.perf_counter() - self._began)

    def read_device(self) -> None:
        """Collect step times and memory peaks from the CUDA device.

        This call synchronises the device, so use it only between freeze states.
        """
        if self._device.type != "cuda":
            return
        torch.cuda.synchronize(self._device)
        for state, began, ended in self._pending:
            state.step_s.append(began.elapsed_time(ended) / 1000)
        self._pending.clear()
        if self.states:
            allocated = torch.cuda.max_memory_allocated(self._device)
            reserved = torch.cuda.max_memory_reserved(self._device)
            self.now.cuda_allocated = max(allocated, self.now.cuda_allocated or 0)
            self.now.cuda_reserved = max(reserved, self.now.cuda_reserved or 0)

    def sum_flops(self, convention: str) -> Flops:
        """Return the training FLOPs so far, in the `paper` or `exact` convention."""
        total = Flops(0.0, 0.0)
        for state in self.states:
            frozen = frozenset(state.frozen)
            for size, samples in state.sizes.items():
                total = total + getattr(self._flops.at(size), convention)(frozen) * samples
            saved = getattr(state, f"prefix_{convention}") * state.reused
            total = total + Flops(-saved, 0.0)
        return total

    def memory(self) -> dict[str, float | int | None]:
        """Return the memory peaks of the run and the mean saved bytes per step, in bytes."""
        ran = [s for s in self.states if s.steps]
        steps = sum(s.steps for s in ran)
        allocated = [s.cuda_allocated for s in ran if s.cuda_allocated is not None]
        reserved = [s.cuda_reserved for s in ran if s.cuda_reserved is not None]
        return {
            "saved_bytes_peak": max(s.saved_bytes for s in ran),
            "saved_bytes_mean": sum(s.saved_bytes * s.steps for s in ran) / steps,
            "state_bytes_peak": max(s.state_bytes for s in ran),
            "cuda_allocated_peak": max(allocated, default=None),
            "cuda_reserved_peak": max(reserved, default=None),
        }

    def summary(self) -> list[dict[str, Any]]:
        """Return the freeze states as rows of plain values, each with its median step time.

        Fields that do not apply to the run (sizes, sent, compile_s) are left out.
        """
        rows = []
        for state in self.states:
            row = asdict(state)
            times = row.pop("step_s")
            if not self._flops.varies:
                del row["sizes"], row["measured_size"]
            if not row["sent"]:  # always 0 in a run of one process
                del row["sent"]
            if not row["compile_s"]:
                del row["compile_s"]
            row["step_s_median"] = statistics.median(times) if times else None
            rows.append(row)
        return rows

    def state_dict(self) -> list[dict[str, Any]]:
        """Return all freeze states as plain values, for a checkpoint."""
        self.read_device()
        return [asdict(state) for state in self.states]

    def load_state_dict(self, states: list[Mapping[str, Any]]) -> None:
        """Restore the freeze states that `state_dict` returned."""
        # Checkpoints of older versions have no `sizes`; their runs had a single input size.
        size = next(iter(self._flops.samples))
        self.states = [FreezeState(**{"sizes": {size: s["samples"]}, **s}) for s in states]
