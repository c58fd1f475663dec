"""Assignment of a model's modules to its layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class Attachment:
    """Modules of one layer besides its weighted module, by name.

    with_weights: modules with parameters or running statistics of their own.
    weightless: modules without children, parameters and running statistics, such as dropout.
    """

    with_weights: tuple[str, ...]
    weightless: tuple[str, ...]


class Attacher:
    """Assignment of modules to layers.

    Every module that owns parameters or running statistics is assigned to the weighted module of a
    layer. So is every module that runs and has no children. The weighted module of a layer is
    called its anchor.

    calls: name of the called module for each call, in order.
    anchors: names of the weighted modules in the order of their first calls; the last one is the
    head.
    heads: all classifiers, if there are several.
    blocks: names of the transformer blocks.
    """

    def __init__(
        self,
        model: nn.Module,
        calls: Sequence[str],
        anchors: Sequence[str],
        heads: Sequence[str],
        blocks: Collection[str],
    ) -> None:
        self._modules = dict(model.named_modules())
        self._calls: dict[str, list[int]] = {}
        for i, name in enumerate(calls):
            self._calls.setdefault(name, []).append(i)
        self._position = {name: at[0] for name, at in self._calls.items()}
        self._anchors = anchors
        self._heads = heads if len(heads) > 1 else ()
        self._blocks = blocks
        self._starts = {anchor: self._position[anchor] for anchor in anchors}
        if self._heads:  # they count as run with the last one
            self._starts[anchors[-1]] = max(self._position.get(name, 0) for name in heads)

    def assign(self) -> Mapping[str, Attachment]:
        """Return the modules of each anchor, in the order of their registration.

        - A container that owns parameters (a class token, a bias table) is assigned to the first
          layer inside it.
        - A module that the forward pass in eval mode never uses is assigned to the head. It can be
          a classifier that only helps in training, or a part of the loss, so it must not freeze.
        - If a model has several classifiers, all are assigned to the head.
        - LayerNorms and modules without weights: see `_place_layer_norm` and `_place_weightless`.
        - A module inside a weighted module is assigned to the layer of the weighted module.
        - Other norms and other modules with parameters are assigned to the layer before them.
        - A module without weights that is called several times is assigned once for each call.
        """
        owning: dict[str, list[str]] = {anchor: [] for anchor in self._anchors}
        weightless: dict[str, list[str]] = {anchor: [] for anchor in self._anchors}
        for name, module in self._modules.items():
            owns = any(True for _ in module.parameters(recurse=False))
            if owns or has_running_statistics(module):
                owning[self._place(name)].append(name)
            elif name in self._position and not any(True for _ in module.children()):
                for anchor in {self._place_weightless(name, at) for at in self._calls[name]}:
                    weightless[anchor].append(name)
        return {
            anchor: Attachment(
                tuple(name for name in owning[anchor] if name != anchor), tuple(weightless[anchor])
            )
            for anchor in self._anchors
        }

    def _place(self, name: str) -> str:
        """Return the anchor of a module with parameters or running statistics."""
        if is_inside(name, self._heads):
            return self._anchors[-1]
        inside = [a for a in self._anchors if not name or is_inside(a, (name,))]
        around = [a for a in self._anchors if is_inside(name, (a,))]
        if inside or around:
            return (inside or around)[0]
        if name not in self._position:
            return self._anchors[-1]
        if self._is_layer_norm(name):
            return self._place_layer_norm(name)
        return self._before(self._position[name])

    def _place_layer_norm(self, name: str) -> str:
        """Return the layer after a LayerNorm (pre-norm), or the layer before it (post-norm).

        The innermost module that contains the norm and layers decides. If none of these layers runs
        after the norm, the norm is a post-norm. The final norm of a network is an exception,
        because its module contains whole transformer blocks. This norm belongs to the layer after
        it.
        """
        container = self._find_container(name)
        last = all(
            self._starts[a] < self._position[name] for a in self._list_anchors_inside(container)
        )
        whole = any(is_inside(block, (container,)) for block in self._blocks if block != container)
        at = self._position[name]
        return self._before(at) if last and not whole else self._after(at)

    def _place_weightless(self, name: str, at: int) -> str:
        """Return the layer before a call of a module without weights, within its container.

        If no layer of the container runs before the module, return the layer after it. A module in
        the container of the head may run between the head and the layer before the head. The module
        then belongs to the head, because it regularises the head.
        """
        around = [a for a in self._anchors if is_inside(name, (a,))]
        if around:
            return around[0]
        container = self._find_container(name)
        near = self._list_anchors_inside(container)
        earlier = [a for a in near if self._starts[a] <= at]
        if not earlier:
            return min(near, key=self._starts.__getitem__)
        latest = max(earlier, key=self._starts.__getitem__)
        head = self._anchors[-1]
        before_head = len(self._anchors) > 1 and self._before(at) == self._anchors[-2]
        return head if head in near and before_head and latest != head else latest

    def _find_container(self, name: str) -> str:
        """Return the innermost of the modules that enclose `name` and contain a layer."""
        container = name.rpartition(".")[0]
        while not self._list_anchors_inside(container):
            container = container.rpartition(".")[0]
        return container

    def _list_anchors_inside(self, container: str) -> list[str]:
        return [a for a in self._anchors if not container or is_inside(a, (container,))]

    def _before(self, at: int) -> str:
        """Return the latest anchor that starts before a call, or else the first anchor."""
        earlier = [a for a in self._anchors if self._starts[a] <= at]
        return max(earlier, key=self._starts.__getitem__) if earlier else self._anchors[0]

    def _after(self, at: int) -> str:
        """Return the next anchor that starts after a call, or else the last anchor."""
        later = [a for a in self._anchors if self._starts[a] >= at]
        return min(later, key=self._starts.__getitem__) if later else self._anchors[-1]

    def _is_layer_norm(self, name: str) -> bool:
        """Return whether a module is a LayerNorm or RMSNorm, judged by class name.

        Libraries define their own classes for both.
        """
        kinds = [kind.__name__.lower() for kind in type(self._modules[name]).__mro__]
        return any("layernorm" in kind or "rmsnorm" in kind for kind in kinds)


def has_running_statistics(module: nn.Module) -> bool:
    """Return whether a module has running statistics of its own, as BatchNorm does."""
    return any(name.startswith("running_") for name, _ in module.named_buffers(recurse=False))


def is_inside(name: str, containers: Collection[str]) -> bool:
    """Return whether a module is one of the containers, or inside one of them."""
    return any(name == c or name.startswith(f"{c}.") for c in containers)
