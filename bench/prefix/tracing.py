"""Tracing of a forward pass into a graph, and interpreters that watch it run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.layers.discovery import has_running_statistics


class _Tracer(fx.Tracer):
    """Looks into every module that is made of others; norms with statistics stay whole."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        whole = not any(True for _ in module.children()) or has_running_statistics(module)
        return whole or super().is_leaf_module(module, name)


class _NodeRecorder(fx.Interpreter):
    """Runs a graph and notes what each of its nodes puts out, or costs."""

    def trace_shapes(self, images: Tensor) -> dict[str, torch.Size]:
        """Shapes of the tensors that nodes put out, by node."""
        self._seen: dict[str, torch.Size] = {}
        with torch.no_grad():
            self.run(images)
        return self._seen

    def costs(self, images: Tensor) -> dict[str, int]:
        """FLOPs of every node."""
        self._flops: dict[str, int] = {}
        self._seen = {}
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            self.run(images)
        return self._flops

    def run_node(self, n: fx.Node) -> Any:
        """Run one node and note it."""
        with FlopCounterMode(display=False) as counter:
            result = super().run_node(n)
        if hasattr(self, "_flops"):
            self._flops[n.name] = counter.get_total_flops()
        if isinstance(result, Tensor) and result.dim():
            self._seen[n.name] = result.shape
        return result


class _RandomNodeFinder(fx.Interpreter):
    """Runs a graph and notes which of its nodes draw random numbers, whatever they are called."""

    def find_random_nodes(self, images: Tensor) -> frozenset[str]:
        """Names of the nodes that move a random stream."""
        self._devices = [images.device] if images.is_cuda else []
        self._found: set[str] = set()
        with torch.random.fork_rng(self._devices), torch.no_grad():
            self.run(images)
        return frozenset(self._found)

    def run_node(self, n: fx.Node) -> Any:
        """Run one node and note it if it draws."""
        before = self._read_random_states()
        result = super().run_node(n)
        if not all(map(torch.equal, before, self._read_random_states())):
            self._found.add(n.name)
        return result

    def _read_random_states(self) -> list[Tensor]:
        return [torch.random.get_rng_state(), *map(torch.cuda.get_rng_state, self._devices)]
