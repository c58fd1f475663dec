"""Memory of training in bytes: tensors that autograd saves for backward, and training state.

Both sizes depend only on the run's settings, the batch and the freeze state, so repeated counts
agree.
`bench.costs.accounting` measures the peaks of the CUDA allocator.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from bench.costs.autograd_graph import find_reachable_layers, make_mask
from bench.costs.saved_tensors import get_address, list_saved_tensors
from bench.errors import UserError
from bench.layers.activations import get_logits
from bench.layers.discovery import Inputs, Layer
from bench.layers.freezing import copy_thawed

Loss = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class SavedStorage:
    """One tensor storage that the backward pass reads.

    fixed, per_sample: for a batch of n samples, the storage has fixed + per_sample × n bytes.
    layers: mask of layers (bit i: layer i). The storage is kept while any layer of the mask trains.
    """

    fixed: int
    per_sample: int
    layers: int


@dataclass(frozen=True)
class SavedModel:
    """Storages that autograd saves in a forward pass in train mode.

    Each entry holds the layers that need the storage, and its size as a function of the batch size.
    """

    storages: tuple[SavedStorage, ...]

    def count_bytes(self, frozen: Collection[int] = (), samples: int = 1) -> int:
        """Return the bytes saved for a batch of `samples` samples.

        frozen: indices of the frozen layers.
        """
        training = ~make_mask(frozen)
        return sum(s.fixed + s.per_sample * samples for s in self.storages if s.layers & training)


def predict_saved_bytes(
    model: nn.Module, layers: Sequence[Layer], inputs: Inputs, loss: Loss | None = None
) -> SavedModel:
    """Predict the bytes that autograd saves, from the graph of one full training step.

    inputs: a batch; only its first sample is used.
    loss: function from logits to the loss. By default, the backward pass starts at the logits.

    The prediction holds for any set of frozen layers whose dropout stays on. Two forward passes run
    on copies of the model with nothing frozen, and the random states do not change. Parameters,
    buffers and scalars are not counted. Fused attention with a learned bias uses another kernel
    once the bias is frozen. For such operators, the prediction assumes the kernel of a step without
    frozen layers.

    Raises UserError if the graph does not show all saved tensors, or if the graph depends on the
    batch size.
    """
    two, three = (_list_saved_storages(model, layers, inputs, loss, samples) for samples in (2, 3))
    if [layers for _, layers in two] != [layers for _, layers in three]:
        raise UserError(
            f"{type(model).__name__}: cannot predict the bytes saved for backward, because the"
            " autograd graph changes with the batch size"
        )
    return SavedModel(
        tuple(
            SavedStorage(3 * of_two - 2 * of_three, of_three - of_two, mask)
            for (of_two, mask), (of_three, _) in zip(two, three, strict=True)
        )
    )


class SavedBytes:
    """Context manager that measures the bytes autograd saves for backward.

        with SavedBytes(model) as saved:
            loss = criterion(model(images), labels)
        saved.bytes

    bytes: total size of the distinct storages that the graph holds at the end of the block. The
    model's parameters and buffers and all scalars are excluded. Nothing is copied and no result
    changes.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._saved: list[weakref.ref[torch.Tensor]] = []
        self._hooks: torch.autograd.graph.saved_tensors_hooks | None = None
        self.bytes = 0

    def __enter__(self) -> SavedBytes:
        self._saved.clear()
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack)
        self._hooks.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._hooks is not None
        self._hooks.__exit__(kind, error, trace)
        self._hooks = None
        own = _find_own_addresses(self._model)
        held = [tensor for reference in self._saved if (tensor := reference()) is not None]
        sizes = {get_address(tensor): tensor.untyped_storage().nbytes() for tensor in held}
        self.bytes = sum(size for where, size in sizes.items() if where not in own)
        self._saved.clear()

    def _pack(self, tensor: torch.Tensor) -> torch.Tensor:
        # detach() returns an alias without grad_fn. If a node saved its own output, the reference
        # cycle would keep the graph alive.
        alias = tensor.detach()
        if tensor.dim():
            self._saved.append(weakref.ref(alias))
        return alias


def count_state_bytes(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Return the bytes of all parameters, existing gradients and optimizer state."""
    parameters = list(model.parameters())
    held = parameters + [p.grad for p in parameters if p.grad is not None]
    for state in optimizer.state.values():
        held += [value for value in state.values() if isinstance(value, torch.Tensor)]
    return sum(tensor.numel() * tensor.element_size() for tensor in held)


def _unpack(alias: torch.Tensor) -> torch.Tensor:
    return alias


def _find_own_addresses(model: nn.Module) -> set[int]:
    """Return the storage addresses of all parameters and buffers.

    Call this after the forward pass, because some models replace a buffer in it.
    """
    return {get_address(tensor) for tensor in (*model.parameters(), *model.buffers())}


def _list_saved_storages(
    model: nn.Module, layers: Sequence[Layer], inputs: Inputs, loss: Loss | None, samples: int
) -> list[tuple[int, int]]:
    """Return the bytes and the layer mask of every storage that a full training step saves."""
    model = copy_thawed(model)
    modules = dict(model.named_modules())
    owner: dict[int, int] = {}
    statistics: dict[int, int] = {}
    for layer in layers:
        owner.update((id(model.get_parameter(name)), layer.index) for name in layer.parameters)
        for name in layer.modules:
            for buffer in modules[name].buffers(recurse=False):
                statistics[get_address(buffer)] = layer.index
    for module in modules.values():
        if isinstance(module, _DropoutNd):
            module.inplace = False  # in-place dropout on a view hides its saved tensors
    batch = tuple(x[:1].repeat_interleave(samples, 0) for x in inputs)
    devices = [x.device for x in batch if x.is_cuda]
    with torch.random.fork_rng(devices), torch.enable_grad(), SavedBytes(model) as measured:
        root = get_logits(model(*batch))
        root = loss(root) if loss else root
    reach = find_reachable_layers(root.grad_fn, owner)
    own = _find_own_addresses(model)
    sizes: dict[int, int] = {}
    masks: dict[int, int] = {}
    for node, mask in reach.items():
        for tensor, needed_by in list_saved_tensors(node, mask, reach, statistics):
            where = get_address(tensor)
            if tensor.dim() and where not in own and tensor.numel():
                sizes[where] = tensor.untyped_storage().nbytes()
                masks[where] = masks.get(where, 0) | needed_by
    if sum(sizes.values()) != measured.bytes:
        raise UserError(
            f"{type(model).__name__}: cannot predict the bytes saved for backward, because autograd"
            f" saved {measured.bytes:,} bytes, but its graph shows {sum(sizes.values()):,} bytes"
        )
    return [(sizes[where], masks[where]) for where in sizes]
