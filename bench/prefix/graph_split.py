"""Splitting of a forward pass into a frozen prefix and the rest.

torch.fx traces the forward pass to a graph. A node is constant if it depends only on the input and
on frozen weights: for a given sample its value never changes. The cut consists of the constant
tensors that the rest of the graph reads, including residual branches that cross it.
`bench.prefix.cut_checks` compares every split with the model before it is used.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from bench.costs.flops import FlopModel
from bench.errors import UserError, summarise_error
from bench.layers.attachment import has_running_statistics
from bench.layers.discovery import Inputs, Layer
from bench.layers.modes import train_copy
from bench.prefix.tracing import _NodeRecorder, _RandomNodeFinder, _Tracer

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}  # times max(1, largest value)


@dataclass(frozen=True)
class Cut:
    """Forward pass in two parts: output = rest(images, *prefix(images)).

    nodes: names of the prefix's graph nodes that the rest does not recompute. Two cuts of a model
        are the same if their nodes are the same.
    layers: indices of the layers that only the prefix uses.
    exact: forward FLOPs per sample of `nodes`, in the exact convention.
    paper: forward FLOPs per sample of `layers`, in the paper's convention.
    """

    prefix: fx.GraphModule
    rest: fx.GraphModule
    nodes: frozenset[str]
    layers: frozenset[int]
    exact: float
    paper: float

    @property
    def rest_reads_images(self) -> bool:
        """Whether the rest reads the images in addition to the cut tensors."""
        images = next(iter(self.rest.graph.nodes))
        return bool(images.users)


class Splitter:
    """Splitter for the forward pass of one model, reused for every freeze state."""

    def __init__(
        self, model: nn.Module, layers: Sequence[Layer], flops: FlopModel, inputs: Inputs
    ) -> None:
        """Trace the model.

        Raises UserError if tracing fails, or if the traced FLOPs differ from those of `flops`.

        inputs: a batch of at least three samples.
        """
        self._model, self._layers, self._flops = model, layers, flops
        self._inputs = inputs
        self._trace()
        self._is_random = bool(self._draws)
        self._owner = {m: layer.index for layer in layers for m in layer.modules}

    @property
    def graph(self) -> fx.Graph:
        """Graph of the whole forward pass."""
        return self._graph

    def _trace(self) -> None:
        name, images = type(self._model).__name__, self._inputs[0]
        try:
            self._graph = self._trace_graph()
            copied = fx.GraphModule(copy.deepcopy(self._model).eval(), self._graph)
            self._shapes = [_NodeRecorder(copied).trace_shapes(images[:n]) for n in (2, 3)]
            self._costs = _NodeRecorder(copied).costs(images[:1])
            train_copy(copied, self._model)
            self._draws = _RandomNodeFinder(copied).find_random_nodes(images[:3])
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # tracing can raise any kind of error
            reason = summarise_error(error)
            raise UserError(
                f"{name}: torch.fx cannot trace its forward pass ({reason}), so its frozen prefix "
                "cannot be cached or folded; set cache_prefix = false and fold_norms = false"
            ) from None
        counted, expected = sum(self._costs.values()), self._flops.exact().forward
        if counted != expected:
            raise UserError(
                f"{name}: its traced forward pass has {counted:,} FLOPs instead of {expected:,.0f};"
                " set cache_prefix = false and fold_norms = false"
            )

    def _trace_graph(self) -> fx.Graph:
        """Return the graph of the model, traced on a copy.

        The copy keeps the model unchanged, because tracing may store proxies in what it traces.
        """
        traced = copy.deepcopy(self._model)
        graph = _Tracer().trace(traced)
        for name, value in vars(traced).items():
            if name.startswith("_tensor_constant"):  # the graph reads it from the model
                setattr(self._model, name, value)
        return graph

    def cut(self) -> Cut | None:
        """Return the deepest cut for the current freeze state.

        The result is None if no whole layer is before the cut. A model that draws random numbers is
        traced again, because dropout is off in frozen layers. The graph keeps the train or eval
        mode that the model passed to a function during tracing.
        """
        if self._is_random:
            self._trace()
        constant = self._find_constant_nodes()
        rest = [n for n in self._graph.nodes if n not in constant and n.op != "placeholder"]
        cut_tensors, again = self._get_cut_tensors(rest, constant)
        needed = _find_ancestors(cut_tensors)
        own = needed - again
        modules = {n.target for n in own if n.op == "call_module"}
        modules -= {n.target for n in (*rest, *again) if n.op == "call_module"}
        gone = self._find_whole_layers(modules)
        if not gone:
            return None
        return Cut(
            fx.GraphModule(self._model, self._build_prefix_graph(needed, cut_tensors)),
            fx.GraphModule(self._model, self._build_rest_graph(rest, again, cut_tensors)),
            frozenset(n.name for n in own),
            gone,
            exact=sum(self._costs[n.name] for n in own),
            paper=sum(self._flops.forward[i] for i in gone),
        )

    def _find_constant_nodes(self) -> set[fx.Node]:
        """Return the constant nodes, which depend on the input and on frozen weights only."""
        constant: set[fx.Node] = set()
        for node in self._graph.nodes:
            if all(i in constant for i in node.all_input_nodes) and self._is_fixed(node):
                constant.add(node)
        return constant

    def _is_fixed(self, node: fx.Node) -> bool:
        """Return whether a node computes the same value at every step, given the same inputs."""
        if node.name in self._draws:
            return False
        if node.op == "call_module":
            module = self._model.get_submodule(str(node.target))
            trains = any(p.requires_grad for p in module.parameters())
            moves = any(m.training and has_running_statistics(m) for m in module.modules())
            return not trains and not moves
        if node.op == "get_attr":
            owner, _, name = str(node.target).rpartition(".")
            value = getattr(self._model.get_submodule(owner), name)
            return not getattr(value, "requires_grad", False)
        return node.op != "output"

    def _get_cut_tensors(
        self, rest: Iterable[fx.Node], constant: set[fx.Node]
    ) -> tuple[list[fx.Node], set[fx.Node]]:
        """Return the cut tensors, and the constant nodes that the rest recomputes.

        A cut tensor has one row per sample. A constant node without rows per sample (a shape, a
        weight, a position table) is recomputed, from cut tensors if it needs them.
        """
        cut_tensors: dict[fx.Node, None] = {}
        again: set[fx.Node] = set()
        stack = [i for node in rest for i in node.all_input_nodes if i in constant]
        while stack:
            node = stack.pop()
            if node in cut_tensors or node in again or node.op == "placeholder":
                continue
            if self._is_per_sample(node):
                cut_tensors[node] = None
            else:
                again.add(node)
                stack.extend(node.all_input_nodes)
        order = {node: i for i, node in enumerate(self._graph.nodes)}
        return sorted(cut_tensors, key=order.__getitem__), again

    def _is_per_sample(self, node: fx.Node) -> bool:
        two, three = (shapes.get(node.name) for shapes in self._shapes)
        if two is None or three is None:
            return False
        return (two[0], three[0]) == (2, 3) and two[1:] == three[1:]

    def _find_whole_layers(self, modules: set[Any]) -> frozenset[int]:
        """Return the indices of the layers whose called modules are all in the prefix."""
        used = {str(n.target) for n in self._graph.nodes if n.op == "call_module"}
        inside = {self._owner[m] for m in map(str, modules) if m in self._owner}
        return frozenset(
            i for i in inside if all(m in modules for m in self._layers[i].modules if m in used)
        )

    def _build_prefix_graph(self, needed: set[fx.Node], cut_tensors: Sequence[fx.Node]) -> fx.Graph:
        graph, env = fx.Graph(), dict[fx.Node, fx.Node]()
        for node in self._graph.nodes:
            if node in needed or node.op == "placeholder":
                env[node] = graph.node_copy(node, env.__getitem__)
        graph.output(tuple(env[node] for node in cut_tensors))
        return graph

    def _build_rest_graph(
        self, rest: Sequence[fx.Node], again: set[fx.Node], cut_tensors: Sequence[fx.Node]
    ) -> fx.Graph:
        graph, env = fx.Graph(), dict[fx.Node, fx.Node]()
        places = [n for n in self._graph.nodes if n.op == "placeholder"]
        env[places[0]] = graph.node_copy(places[0])
        for node in cut_tensors:
            env[node] = graph.placeholder(node.name)
        for node in places[1:]:  # optional arguments must come after required ones
            env[node] = graph.node_copy(node)
        wanted = {*rest, *again}
        for node in self._graph.nodes:
            if node in wanted:
                env[node] = graph.node_copy(node, env.__getitem__)
        return graph


def _find_ancestors(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """Return the nodes and all nodes that they depend on."""
    found: set[fx.Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(node.all_input_nodes)
    return found
