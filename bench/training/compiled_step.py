"""Forward and backward pass of training steps with torch.compile.

A compiled graph is specific to its freeze state. It computes no gradients of frozen weights, and
BatchNorm of frozen layers uses its running statistics. After every change of the freeze state, the
next full batch therefore compiles a new graph. Evaluation, the probe batches of a strategy and
batches that are not full run the uncompiled model.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException
from torch._dynamo.utils import counters
from torch._inductor.utils import clear_caches

from bench.costs.freeze_state import FreezeState
from bench.errors import UserError
from bench.layers.activations import get_logits
from bench.layers.discovery import Inputs

BACKEND = "inductor"
# Calls that build the graph. On CUDA the first compiles it and the second captures the CUDA graph.
BUILDING = {"cpu": 1, "cuda": 2}


class Compiled:
    """Compiled forward pass of a model. The backward pass that autograd runs is compiled too."""

    def __init__(
        self, label: str, model: nn.Module, device: torch.device, samples: int, threads: int
    ) -> None:
        """Compile a trivial function first, to detect a missing compiler before training.

        label: name of the run, for messages.
        samples: size of a full batch. Only full batches run compiled code.
        threads: number of kernels compiled in parallel.
        Raises UserError if torch.compile does not work on this machine.
        """
        self._label, self._model, self._samples = label, model, samples
        self._how = choose_compile_options(device, threads)
        self._building_calls, self._calls = BUILDING[device.type], 0
        # Use a separate cache: kernels cached by earlier runs would make compile_s too small.
        torch.compiler.reset()
        clear_caches()
        self._cache = tempfile.TemporaryDirectory(prefix="compiled")
        self._function: Any = None
        one = torch.ones(2, device=device)
        try:
            with self._use_own_cache():
                torch.compile(torch.sin, **self._how)(one)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise UserError(
                f"{label}: torch.compile does not work here ({_get_first_line(error)}); install a "
                "C++ compiler (g++, or set CXX) and, on CUDA, Triton, or set compiled = false"
            ) from error
        self.enter()

    def enter(self) -> None:
        """Discard the graph of the last freeze state. The next full batch builds a new one."""
        self._function, self._calls = None, 0
        torch.compiler.reset()  # frees the memory of CUDA graphs

    @contextmanager
    def step(self, samples: int, state: FreezeState) -> Iterator[None]:
        """Wrap forward and backward of a step, and add compile time to `state.compile_s`.

        samples: size of the batch.
        The compile time is the duration of forward and backward in the steps that build the graph.
        These are one step on a CPU and two steps on CUDA. A full batch never falls back to the
        uncompiled model.
        Raises UserError if torch does not capture a CUDA graph.
        """
        if samples != self._samples:
            yield
            return
        if self._calls >= self._building_calls:
            if self._building_calls > 1:
                torch.compiler.cudagraph_mark_step_begin()
            yield
            return
        began, skipped = time.perf_counter(), counters["inductor"]["cudagraph_skips"]
        with self._use_own_cache():
            if self._function is None:
                self._build()
            yield
        if counters["inductor"]["cudagraph_skips"] > skipped:
            raise UserError(
                f"{self._label}: torch did not capture its step as a CUDA graph (TORCH_LOGS="
                "perf_hints shows the reason); set compiled = false"
            )
        self._calls += 1
        state.compile_s += time.perf_counter() - began

    def forward(self, inputs: Inputs) -> Any:
        """Return the model's output, from compiled code if the batch is full.

        Raises UserError if the model cannot be compiled, or if a later step in the same freeze
        state would have to compile it again.
        """
        if len(inputs[0]) != self._samples:
            return self._model(*inputs)
        again = self._calls > 0
        try:
            with torch.compiler.set_stance("fail_on_recompile") if again else nullcontext():
                return self._function(*inputs)
        except RuntimeError as error:
            if isinstance(error, TorchDynamoException):
                what = "cannot be compiled"
            elif "fail_on_recompile" in str(error):
                what = "would have to be compiled again at every step"
            else:
                raise
            raise UserError(
                f"{self._label}: its forward pass {what} ({_get_first_line(error)}); set "
                "compiled = false"
            ) from error

    def _build(self) -> None:
        def forward(*inputs: torch.Tensor) -> torch.Tensor:
            return get_logits(self._model(*inputs))

        self._function = torch.compile(forward, **self._how)

    @contextmanager
    def _use_own_cache(self) -> Iterator[None]:
        folders = {"TORCHINDUCTOR_CACHE_DIR": "", "TRITON_CACHE_DIR": "triton"}
        before = {name: os.environ.get(name) for name in folders}
        for name, folder in folders.items():
            os.environ[name] = str(Path(self._cache.name) / folder)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def choose_compile_options(device: torch.device, threads: int) -> Mapping[str, Any]:
    """Return the arguments of torch.compile.

    The model is compiled as one graph with fixed sizes. It draws the same random numbers as in
    eager mode. On CUDA it uses CUDA graphs, as mode "reduce-overhead" does. On a CPU, no kernel is
    chosen by timing, so a rebuilt graph gives bit-identical results. On CUDA, Triton may choose
    pointwise kernels by timing.
    """
    chosen: dict[str, Any] = {"fullgraph": True, "dynamic": False, "backend": BACKEND}
    if BACKEND == "inductor":
        chosen["options"] = {
            "triton.cudagraphs": device.type == "cuda",
            "fallback_random": True,
            "deterministic": True,
            "compile_threads": threads,
        }
    return chosen


def _get_first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
