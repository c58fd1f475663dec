"""Process group of a run: shares of a batch, and values on which all processes agree.

All processes take the same steps with the same model. Gradients are summed over the processes, so
every strategy sees the gradients of the whole batch. All processes apply the decisions and stop
requests of the first process. Only the first process writes to the run folder. In a run of one
process (ALONE), the operations of this module do nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bench.distributed.read_only_folder import ReadOnlyFolder
from bench.errors import UserError
from bench.layers.attachment import has_running_statistics
from bench.layers.discovery import Inputs, Layer
from bench.results.run_folder import RunFolder

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

    from bench.distributed.gradient_sums import GradientSums

T = TypeVar("T")


class ProcessGroup:
    """This process, number `rank` (from 0) of `size` processes; only the first process writes."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._model: nn.Module | None = None
        self._sums: GradientSums | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def stream(self) -> tuple[int, ...]:
        """Key of the random stream for this process's samples; empty on the first process."""
        return (self.rank,) if self.rank else ()

    @property
    def sent(self) -> int:
        """Bytes of gradients that this process has passed to all_reduce so far."""
        return self._sums.sent if self._sums else 0

    def share(self, samples: int) -> slice:
        """Return the slice of a batch that this process computes.

        samples: size of the batch. The slices of two processes differ in size by at most one
        sample.
        """
        return slice(samples * self.rank // self.size, samples * (self.rank + 1) // self.size)

    def folder(self, results: Path, run_id: str) -> RunFolder:
        """Return the run folder; it is read-only on all processes but the first."""
        return RunFolder(results, run_id) if self.first else ReadOnlyFolder(results, run_id)

    def sync_batchnorm(self, model: nn.Module) -> nn.Module:
        """Return the model with SyncBatchNorm on CUDA, or the unchanged model on CPU.

        PyTorch has no SyncBatchNorm on CPU. On CPU, each process normalises by its own share of the
        batch. `share_buffers` then broadcasts the running statistics of the first process.
        """
        if self.size == 1 or not any(p.is_cuda for p in model.parameters()):
            return model
        from timm.layers import convert_sync_batchnorm  # also converts timm's norm-act layers

        converted: nn.Module = convert_sync_batchnorm(model)
        return converted

    def attach(
        self, model: nn.Module, layers: Sequence[Layer], switches_often: bool = False
    ) -> None:
        """Sum the gradients of this model's layers over all processes from now on.

        switches_often: as in `GradientSums`.
        """
        if self.size == 1:
            return
        self._model = model
        from bench.distributed.gradient_sums import GradientSums

        names = [name for layer in layers for name in layer.parameters]
        parameters = {name: model.get_parameter(name) for name in names}
        self._sums = GradientSums(model, parameters, switches_often)

    def regroup(self) -> None:
        """Wrap the model again at the next step, after a change of the freeze state.

        Raises UserError on every process if the processes differ in weights or in trained layers.
        """
        if self._sums is None or self._model is None:
            return
        self._sums.forget()
        training = [name for name, p in self._model.named_parameters() if p.requires_grad]
        norms = torch._foreach_norm([p.detach() for p in self._model.parameters()])
        self.check_same("layers that train", training)
        self.check_same("weights", torch.stack(list(norms)).tolist())

    def begin_step(self) -> None:
        """Wrap the model if the set of training layers has changed. The gradients must be None."""
        if self._sums:
            self._sums.wrap()

    def forward(self, model: nn.Module, inputs: Inputs) -> Any:
        """Return the model's output. A backward pass and `sum_gradients` then sum the gradients."""
        return self._sums.forward(inputs) if self._sums else model(*inputs)

    def weight_loss(self, loss: Tensor, mine: int | Tensor, every: int | Tensor) -> Tensor:
        """Return this process's part of the mean loss over the whole batch.

        loss: mean over the labels of this process.
        mine: number of these labels.
        every: number of labels of the whole batch.
        The parts of all processes add up to the mean loss over the batch.
        """
        return loss if self.size == 1 else loss * (mine / every)

    def sum_gradients(self) -> None:
        """Complete the sums of the gradients over all processes, after a backward pass.

        Raises UserError if a parameter that trains got no gradient.
        """
        if self._sums:
            self._sums.finish()

    def share_buffers(self) -> None:
        """Broadcast the first process's running statistics of the layers that train."""
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

    def sum_over_processes(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes; the tensor itself does not change."""
        if self.size == 1:
            return value
        value = value.clone()
        dist.all_reduce(value)
        return value

    def gather_rows(self, parts: Sequence[Tensor]) -> Tensor:
        """Return the rows of all processes' tensors, concatenated in order of rank; (N, …).

        A process may pass no tensors.
        """
        if self.size == 1:
            return torch.cat(list(parts))
        every = self.gather_values([part.cpu() for part in parts])
        return torch.cat([part for theirs in every for part in theirs])

    def broadcast_flag(self, value: bool) -> bool:
        """Return the first process's flag on every process."""
        if self.size == 1:
            return value
        said = torch.tensor(value)
        dist.broadcast(said, src=0)
        return bool(said)

    def broadcast_value(self, value: T) -> T:
        """Return a copy of the first process's value on every process."""
        if self.size == 1:
            return value
        said = [value]
        dist.broadcast_object_list(said, src=0)
        return said[0]

    def gather_values(self, value: T) -> list[T]:
        """Return the values of all processes in order of rank."""
        if self.size == 1:
            return [value]
        said: list[Any] = [None] * self.size
        dist.all_gather_object(said, value)
        return said

    def check_same(self, what: str, value: object) -> None:
        """Raise UserError on every process if any value differs from the first process's."""
        values = self.gather_values(value)
        for rank, other in enumerate(values):
            if repr(other) != repr(values[0]):  # repr, because NaN != NaN if all runs diverged
                raise UserError(
                    f"process {rank} of {self.size} and process 0 differ in their {what}; a "
                    "strategy must make the same decisions on all processes, so it may use only "
                    "the seed and its view"
                )

    def reduce_max(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return for each key the largest number of all processes; None if all have None."""
        if self.size == 1:
            return dict(values)
        every = self.gather_values(dict(values))
        return {
            key: max((v[key] for v in every if v[key] is not None), default=None) for key in values
        }


ALONE = ProcessGroup()


@contextmanager
def join_processes(rank: int, size: int, store: Store, device: str) -> Iterator[ProcessGroup]:
    """Join the process group as process `rank` of `size`; block until all processes have joined.

    store: the same for all processes, and used for no other group.
    device: "cuda" (NCCL, with Gloo for CPU tensors) or "cpu" (Gloo).
    """
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo",
        store=store,
        rank=rank,
        world_size=size,
    )
    try:
        yield ProcessGroup(rank, size)
    finally:
        dist.destroy_process_group()
