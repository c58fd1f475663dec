"""The processes of one run, as the run sees them: its share of a batch, and what all agree on.

All processes make the same steps with the same model. Gradients are summed over them, so every
strategy sees those of the whole batch; the first process decides what freezes, reads whether to
stop, and alone writes. For a run in one process (ALONE) everything here does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bench.distributed.gradient_buckets import Buckets
from bench.distributed.read_only_folder import ReadOnlyFolder
from bench.errors import UserError
from bench.layers.discovery import Layer, has_running_statistics
from bench.results.run_folder import RunFolder

T = TypeVar("T")


class ProcessGroup:
    """One process of `size`, numbered `rank` from 0; the first of them writes and decides."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._model: nn.Module | None = None
        self._buckets: Buckets | None = None

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    @property
    def stream(self) -> tuple[int, ...]:
        """What tells the random numbers of this process's samples from those of the others."""
        return (self.rank,) if self.rank else ()

    @property
    def sent(self) -> int:
        """Bytes of gradients that this process has given to the sums so far."""
        return self._buckets.sent if self._buckets else 0

    def share(self, samples: int) -> slice:
        """Which of the samples of a batch are this process's; sizes differ by one at most."""
        return slice(samples * self.rank // self.size, samples * (self.rank + 1) // self.size)

    def folder(self, results: Path, run_id: str) -> RunFolder:
        """The run's folder; only the first process changes anything in it."""
        return RunFolder(results, run_id) if self.first else ReadOnlyFolder(results, run_id)

    def sync_batchnorm(self, model: nn.Module) -> nn.Module:
        """The model whose BatchNorm sees the whole batch: on CUDA; on CPU torch has none.

        There each process normalises by its own share, and `share_buffers` spreads the running
        statistics of the first.
        """
        if self.size == 1 or not any(p.is_cuda for p in model.parameters()):
            return model
        from timm.layers import convert_sync_batchnorm  # knows timm's norms with activation too

        converted: nn.Module = convert_sync_batchnorm(model)
        return converted

    def attach(self, model: nn.Module, layers: Sequence[Layer]) -> None:
        """Sum the gradients of this model from now on."""
        if self.size == 1:
            return
        self._model = model
        names = [name for layer in layers for name in layer.parameters]
        self._buckets = Buckets([model.get_parameter(name) for name in names])

    def regroup(self) -> None:
        """Take note that other layers train from now on; see that all processes say the same.

        Raises UserError on every process if their models differ.
        """
        if self._buckets is None or self._model is None:
            return
        self._buckets.rebuild()
        training = [name for name, p in self._model.named_parameters() if p.requires_grad]
        norms = torch._foreach_norm([p.detach() for p in self._model.parameters()])
        self.check_same("layers that train", training)
        self.check_same("weights", torch.stack(list(norms)).tolist())

    def weight_loss(self, loss: Tensor, mine: int, samples: int) -> Tensor:
        """Return the part of the mean loss over `samples` that this process's mean loss over
        `mine` of them adds; the parts of all processes add up to it.
        """
        return loss if self.size == 1 else loss * (mine / samples)

    def sum_gradients(self) -> None:
        """Put the sum over all processes in the place of every gradient."""
        if self._buckets:
            self._buckets.finish()

    def share_buffers(self) -> None:
        """Give every process the first one's running statistics of layers that train."""
        if self._model is None:
            return
        moving = [
            buffer
            for module in self._model.modules()
            if module.training and has_running_statistics(module)
            for buffer in module.buffers(recurse=False)
            if buffer.is_floating_point()
        ]
        if not moving:
            return
        flat = torch.cat([buffer.reshape(-1) for buffer in moving])
        dist.broadcast(flat, src=0)
        pieces = flat.split([buffer.numel() for buffer in moving])
        for buffer, piece in zip(moving, pieces, strict=True):
            buffer.copy_(piece.view_as(buffer))

    def total(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes; the tensor is left as it was."""
        if self.size == 1:
            return value
        value = value.clone()
        dist.all_reduce(value)
        return value

    def gather_rows(self, parts: Sequence[Tensor]) -> Tensor:
        """The rows of every process's tensors below one another, by process; (N, …).

        A process may have none.
        """
        if self.size == 1:
            return torch.cat(list(parts))
        every = self.gather_values([part.cpu() for part in parts])
        return torch.cat([part for theirs in every for part in theirs])

    def broadcast_flag(self, value: bool) -> bool:
        """What the first process says."""
        if self.size == 1:
            return value
        said = torch.tensor(value)
        dist.broadcast(said, src=0)
        return bool(said)

    def broadcast_value(self, value: T) -> T:
        """The first process's value, as a copy."""
        if self.size == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said, src=0)
        return said[0]

    def gather_values(self, value: T) -> list[T]:
        """Every process's value, by rank."""
        if self.size == 1:
            return [value]
        said: list[Any] = [None] * self.size
        dist.all_gather_object(said, value)
        return said

    def check_same(self, what: str, value: object) -> None:
        """Raise UserError on every process if one holds another value than the first."""
        values = self.gather_values(value)
        for rank, other in enumerate(values):
            if repr(other) != repr(values[0]):  # NaN is like NaN: diverging alike is no difference
                raise UserError(
                    f"process {rank} of {self.size} holds other {what} than process 0; a strategy "
                    "must decide alike on all, from the seed and from what its view shows"
                )

    def reduce_max(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Of each number the largest that any process has."""
        if self.size == 1:
            return dict(values)
        every = self.gather_values(dict(values))
        return {
            key: max((v[key] for v in every if v[key] is not None), default=None) for key in values
        }


ALONE = ProcessGroup()


@contextmanager
def join_processes(rank: int, size: int, meeting: Path, device: str) -> Iterator[ProcessGroup]:
    """Be process `rank` of `size` while inside; blocks until all are there.

    meeting: a file that does not exist yet, the same for all, on this machine.
    """
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=size,
    )
    try:
        yield ProcessGroup(rank, size)
    finally:
        dist.destroy_process_group()
