"""Running totals of one run: FLOPs per convention, and step times and memory per freeze state."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from bench.costs.flops import Convention, Flops, count_frozen_prefix
from bench.costs.flops_by_input_size import FlopsBySize
from bench.costs.freeze_state import FreezeState, MergedSets

CONVENTIONS: tuple[Convention, ...] = ("paper", "exact", "executed")
MOST_STATES = 32  # freeze states that a run with many sets records one by one


class Accounting:
    """Running totals of a run. `end_step` updates them without waiting for the device.

    most_states: number of sets of frozen layers that get a freeze state of their own. The steps of
    all further sets share one merged state. None: every set has its own state.
    processes: number of processes that share every step. Work that does not depend on the batch
    size (`FlopModel.per_batch`) is counted once per process.
    fused: whether attention runs fused kernels, whose repeated products the `executed` convention
    counts.
    """

    def __init__(
        self,
        flops: FlopsBySize,
        device: torch.device,
        most_states: int | None = None,
        processes: int = 1,
        fused: bool = False,
    ) -> None:
        self._processes, self._fused = processes, fused
        self._flops, self._device, self._most_states = flops, device, most_states
        self._layers = len(flops.mean.forward)
        self.states: list[FreezeState] = []
        self._by_set: dict[frozenset[int] | None, FreezeState] = {}  # None: the merged state
        self._frozen: frozenset[int] = frozenset()
        # Samples and batches by set and size.
        self._uncounted: Counter[tuple[frozenset[int], int]] = Counter()
        self._uncounted_batches: Counter[tuple[frozenset[int], int]] = Counter()
        self._pending: list[tuple[FreezeState, Any, Any]] = []
        self._began: Any = None
        self._sent = 0

    @property
    def now(self) -> FreezeState:
        """Freeze state of the present step."""
        return self._by_set.get(self._frozen) or self._by_set[None]

    def enter_state(self, step: int, frozen: frozenset[int]) -> None:
        """Begin the freeze state of a set of frozen layers, or continue it if it exists.

        step: number of finished steps. A previous state without any steps is dropped. The call does
        not wait for the device.
        """
        if self.states:
            self._read_peaks()
            if self.now.steps == 0:
                self.states.remove(self.now)
                self._index_states()
        self._frozen = frozen
        if frozen not in self._by_set and None not in self._by_set:
            prefix = count_frozen_prefix(frozen, self._layers)
            state = FreezeState(step, sorted(frozen), prefix)
            if len(self.states) == self._most_states:
                state = FreezeState(step, None, None, merged=MergedSets())
            self.states.append(state)
            self._index_states()
        self.forget_peaks()

    def _index_states(self) -> None:
        self._by_set = {
            None if state.frozen is None else frozenset(state.frozen): state
            for state in self.states
        }

    def forget_peaks(self) -> None:
        """Reset the peak statistics of the CUDA allocator.

        The reserved memory is not released. After a release, methods that freeze often would
        reserve memory again and become about 1 % slower. Full training would not become slower, so
        the comparison would be biased.
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
        """Stop timing a step, and count its samples.

        samples: number of samples of the batch, over all processes.
        size: input size.
        sent: bytes of gradients that this process has contributed to all-reduce since it started.
        """
        state = self.now
        state.sent += sent - self._sent
        self._sent = sent
        state.steps += 1
        state.samples += samples
        state.sizes[size] = state.sizes.get(size, 0) + samples
        state.batches[size] = state.batches.get(size, 0) + self._processes
        if state.merged:
            self._uncounted[self._frozen, size] += samples
            self._uncounted_batches[self._frozen, size] += self._processes
        if self._device.type == "cuda":
            ended = torch.cuda.Event(enable_timing=True)
            ended.record()
            self._pending.append((state, self._began, ended))
        else:
            state.step_s.append(time.perf_counter() - self._began)

    def read_device(self) -> None:
        """Collect step times and memory peaks from the CUDA device.

        This call synchronises the device, so do not use it after every step.
        """
        if self._device.type != "cuda":
            return
        torch.cuda.synchronize(self._device)
        for state, began, ended in self._pending:
            state.step_s.append(began.elapsed_time(ended) / 1000)
        self._pending.clear()
        if self.states:
            self._read_peaks()

    def _read_peaks(self) -> None:
        """Update the peaks of the current state from the allocator. torch keeps them on the CPU."""
        if self._device.type == "cuda":
            allocated = torch.cuda.max_memory_allocated(self._device)
            reserved = torch.cuda.max_memory_reserved(self._device)
            self.now.cuda_allocated = max(allocated, self.now.cuda_allocated or 0)
            self.now.cuda_reserved = max(reserved, self.now.cuda_reserved or 0)

    def sum_flops(self, convention: Convention) -> Flops:
        """Return the training FLOPs so far, in one of CONVENTIONS."""
        if convention == "executed" and not self._fused:
            convention = "exact"
        self._count_merged()
        total = Flops(0.0, 0.0)
        for state in self.states:
            if state.merged:
                forward, backward = state.merged.flops[convention]
                total = total + Flops(float(forward), float(backward))
                continue
            frozen = frozenset(state.frozen or ())
            for size, samples in state.sizes.items():
                flops, batches = self._flops.at(size), state.batches[size]
                total = total + flops.sum_batches(convention, frozen, samples, batches)
            each = state.prefix_paper if convention == "paper" else state.prefix_exact
            saved = each * state.reused
            total = total + Flops(-saved, 0.0)
        return total

    def _count_merged(self) -> None:
        """Count the FLOPs of those steps of the merged state that are not counted yet."""
        state = self._by_set.get(None)
        if state is None or state.merged is None:
            return
        for (frozen, size), samples in self._uncounted.items():
            batches = self._uncounted_batches[frozen, size]
            for convention in CONVENTIONS:
                counts = state.merged.flops[convention]
                flops = self._flops.at(size).sum_batches(convention, frozen, samples, batches)
                counts[0] += round(flops.forward)
                counts[1] += round(flops.backward)
        self._uncounted.clear()
        self._uncounted_batches.clear()

    def collect_memory(self) -> dict[str, float | int | None]:
        """Return the memory peaks of the run and the mean saved bytes per step, in bytes."""
        ran = [s for s in self.states if s.steps]
        steps = sum(s.steps for s in ran)
        allocated = [s.cuda_allocated for s in ran if s.cuda_allocated is not None]
        reserved = [s.cuda_reserved for s in ran if s.cuda_reserved is not None]
        return {
            "saved_bytes_peak": max(s.saved_bytes_peak for s in ran),
            "saved_bytes_mean": sum(s.saved_bytes * s.steps for s in ran) / steps,
            "state_bytes_peak": max(s.state_bytes for s in ran),
            "cuda_allocated_peak": max(allocated, default=None),
            "cuda_reserved_peak": max(reserved, default=None),
        }

    def summarise_states(self) -> list[dict[str, Any]]:
        """Return the freeze states as rows of plain values, each with its median step time."""
        self._count_merged()
        return [state.make_row(self._flops.varies) for state in self.states]

    def state_dict(self) -> list[dict[str, Any]]:
        """Return all freeze states as plain values, for a checkpoint."""
        self.read_device()
        self._count_merged()
        return [asdict(state) for state in self.states]

    def load_state_dict(self, states: Sequence[Mapping[str, Any]], frozen: frozenset[int]) -> None:
        """Restore the freeze states that `state_dict` returned.

        frozen: the layers that are frozen now.
        """
        self.states = [FreezeState.from_dict(state) for state in states]
        self._frozen = frozen
        self._index_states()
