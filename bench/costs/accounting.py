"""What a run has spent: FLOPs by convention, step times and memory by freeze state."""

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
    """A stretch of steps between two changes of what is frozen.

    step_s: seconds of each step. saved_bytes: what autograd saved for the backward pass of its
    first full batch, of `measured` samples; state_bytes: parameters, gradients and optimizer
    state after that step. Where batches differ in size, sizes says how many samples had which,
    and the bytes are those of the largest batch, of `measured_size`. reused: samples whose prefix
    came out of a cache, each of which saved `prefix_exact` and `prefix_paper` FLOPs of its
    forward pass. sent: bytes of gradients that this process gave to the sums over all processes
    of the run. compile_s: seconds of the steps in which forward and backward were compiled,
    within step_s too. The cuda fields are the allocator's peaks, None on a CPU; what it reserved
    in an earlier state it still has.
    In a run of several processes samples and sizes are those of all, the rest is this one's.
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
        """Whether a batch is larger than the one whose bytes were measured."""
        return samples * size > self.measured * self.measured_size


class Accounting:
    """Adds up a run step by step; everything here is arithmetic on the host."""

    def __init__(self, flops: FlopsBySize, device: torch.device) -> None:
        self._flops, self._device = flops, device
        self._layers = len(flops.mean.forward)
        self.states: list[FreezeState] = []
        self._pending: list[tuple[FreezeState, Any, Any]] = []
        self._began: Any = None
        self._sent = 0

    @property
    def now(self) -> FreezeState:
        """The freeze state the run is in."""
        return self.states[-1]

    def enter_state(self, step: int, frozen: frozenset[int]) -> None:
        """Begin a new freeze state after `step` finished steps."""
        self.read_device()
        if self.states and self.now.steps == 0:
            self.states.pop()
        prefix = count_frozen_prefix(frozen, self._layers)
        self.states.append(FreezeState(step, sorted(frozen), prefix))
        self.forget_peaks()

    def forget_peaks(self) -> None:
        """Begin the allocator's peaks anew.

        It keeps what it has reserved: to give that back and take it again would cost a method that
        freezes often a percent of its time, and one that never freezes nothing.
        """
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def begin_step(self) -> None:
        """Mark the beginning of a step; on CUDA by an event, without waiting."""
        if self._device.type == "cuda":
            self._began = torch.cuda.Event(enable_timing=True)
            self._began.record()
        else:
            self._began = time.perf_counter()

    def end_step(self, samples: int, size: int, sent: int = 0) -> None:
        """Mark the end of a step that saw `samples` samples of a size.

        sent: bytes of gradients that this process gave to sums over processes since it started.
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
        """Collect step times and memory peaks from the device. Call at borders only: it waits."""
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
        """Training FLOPs so far in the `paper` or `exact` convention."""
        total = Flops(0.0, 0.0)
        for state in self.states:
            frozen = frozenset(state.frozen)
            for size, samples in state.sizes.items():
                total = total + getattr(self._flops.at(size), convention)(frozen) * samples
            saved = getattr(state, f"prefix_{convention}") * state.reused
            total = total + Flops(-saved, 0.0)
        return total

    def memory(self) -> dict[str, float | int | None]:
        """Peaks over the run, and the mean over steps of the bytes saved for backward."""
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
        """The freeze states as rows, with the median step time of each."""
        rows = []
        for state in self.states:
            row = asdict(state)
            times = row.pop("step_s")
            if not self._flops.varies:
                del row["sizes"], row["measured_size"]
            if not row["sent"]:  # as of any run in one process
                del row["sent"]
            if not row["compile_s"]:
                del row["compile_s"]
            row["step_s_median"] = statistics.median(times) if times else None
            rows.append(row)
        return rows

    def state_dict(self) -> list[dict[str, Any]]:
        """All of it, for a checkpoint."""
        self.read_device()
        return [asdict(state) for state in self.states]

    def load_state_dict(self, states: list[Mapping[str, Any]]) -> None:
        """Take back what `state_dict` gave."""
        size = next(iter(self._flops.samples))  # of a checkpoint from before sizes were noted
        self.states = [FreezeState(**{"sizes": {size: s["samples"]}, **s}) for s in states]
