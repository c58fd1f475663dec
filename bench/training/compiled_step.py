"""The forward and backward pass of a run's steps through torch.compile, anew in each freeze state.

What is frozen is compiled in: no gradient of a frozen weight, BatchNorm of frozen layers by its
running statistics. So a graph serves one freeze state; whatever changes state builds another.
Evaluation, a strategy's probes and a batch that is not full run the model itself.
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

from bench.costs.accounting import FreezeState
from bench.errors import UserError
from bench.layers.activations import get_logits
from bench.layers.discovery import Inputs

BACKEND = "inductor"
# Calls that build: on CUDA the first compiles and runs, the second captures the CUDA graph.
BUILDING = {"cpu": 1, "cuda": 2}


class Compiled:
    """The compiled forward pass of a model; autograd runs its backward pass, compiled as well."""

    def __init__(
        self, label: str, model: nn.Module, device: torch.device, samples: int, threads: int
    ) -> None:
        """Compile something small first, so that what is missing is known before training.

        label: the run in words, for messages. samples: of a full batch; only those are compiled.
        threads: how many kernels are built at a time. Raises UserError if nothing can be compiled.
        """
        self._label, self._model, self._samples = label, model, samples
        self._how = choose_compile_options(device, threads)
        self._building_calls, self._calls = BUILDING[device.type], 0
        # What earlier runs compiled would make this one's compiling look cheap: a cache of its own.
        torch.compiler.reset()
        clear_caches()
        self._cache = tempfile.TemporaryDirectory(prefix="compiled")
        self._function: Any = None
        one = torch.ones(2, device=device)
        try:
            with self._use_own_cache():
                torch.compile(torch.sin, **self._how)(one)
        except Exception as error:
            raise UserError(
                f"{label}: nothing can be compiled here ({_get_first_line(error)}); compiled needs "
                "a C++ compiler (g++, or what CXX names) and, on CUDA, Triton; or leave it off"
            ) from error
        self.enter()

    def enter(self) -> None:
        """Forget what was built: the next full batch is of another freeze state."""
        self._function, self._calls = None, 0
        torch.compiler.reset()  # on CUDA its graphs hold memory

    @contextmanager
    def step(self, samples: int, state: FreezeState) -> Iterator[None]:
        """What surrounds forward and backward of a step; notes in `state` the seconds of building.

        They include the steps in which it is built, one on a CPU and two on CUDA. A graph that no
        longer fits is an error, never built again or left for the eager model in silence; so is a
        CUDA graph that torch leaves out.
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
                "perf_hints shows why); leave compiled off"
            )
        self._calls += 1
        state.compile_s += time.perf_counter() - began

    def forward(self, inputs: Inputs) -> Any:
        """The model's output; that of the model itself for a batch that is not full.

        Raises UserError if the model cannot be compiled, or not once for all steps.
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
                f"{self._label}: its forward pass {what} ({_get_first_line(error)}); leave "
                "compiled off"
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
    """How torch.compile is called: one graph, of fixed sizes, random numbers as drawn eagerly.

    On CUDA with CUDA graphs (as mode "reduce-overhead"). On a CPU nothing is chosen by timing, so
    that what is built again computes the same bits; on CUDA Triton may time pointwise kernels.
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
