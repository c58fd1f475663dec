"""torch.fx tracer of a forward pass, and interpreters that record facts about its nodes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.layers.attachment import has_running_statistics


class _Tracer(fx.Tracer):
    """Tracer that descends into modules with children, except norms with running statistics."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        whole = not any(True for _ in module.children()) or has_running_statistics(module)
        return whole or super().is_leaf_module(module, name)


class _NodeRecorder(fx.Interpreter):
    """Interpreter that records the output shape and the FLOPs of each node."""

    def trace_shapes(self, images: Tensor) -> dict[str, torch.Size]:
        """Return the output shape of each node that returns a tensor, by node name."""
        self._seen: dict[str, torch.Size] = {}
        with torch.no_grad():
            self.run(images)
        return self._seen

    def costs(self, images: Tensor) -> dict[str, int]:
        """Return the FLOPs of each node, by node name."""
        self._flops: dict[str, int] = {}
        self._seen = {}
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            self.run(images)
        return self._flops

    def run_node(self, n: fx.Node) -> Any:
        """Run one node and record its shape and FLOPs."""
        with FlopCounterMode(display=False) as counter:
            result = super().run_node(n)
        if hasattr(self, "_flops"):
            self._flops[n.name] = counter.get_total_flops()
        if isinstance(result, Tensor) and result.dim():
            self._seen[n.name] = result.shape
        return result


class _RandomNodeFinder(fx.Interpreter):
    """Interpreter that finds the nodes that use random numbers, whatever their class."""

    def find_random_nodes(self, images: Tensor) -> frozenset[str]:
        """Return the names of the nodes that change a random state."""
        self._devices = [images.device] if images.is_cuda else []
        self._found: set[str] = set()
        with torch.random.fork_rng(self._devices), torch.no_grad():
            self.run(images)
        return frozenset(self._found)

    def run_node(self, n: fx.Node) -> Any:
        """Run one node and record it if it changes a random state."""
        before = self._read_random_states()
        result = super().run_node(n)
        if not all(map(torch.equal, before, self._read_random_states())):
            self._found.add(n.name)
        return result

    def _read_random_states(self) -> list[Tensor]:
        return [torch.random.get_rng_state(), *map(torch.cuda.get_rng_state, self._devices)]
