"""Gradient sums over processes, by a new DistributedDataParallel for each freeze state.

DistributedDataParallel wraps a model. It sums the gradients of the parameters that require
gradients at the time of wrapping. The model is wrapped again after each freeze.
DistributedDataParallel therefore neither buckets nor sends gradients of frozen layers. It need
not search for unused parameters.
"""

# No `from __future__ import annotations` here: torch checks the annotations of the hook as objects.
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel

from bench.errors import UserError
from bench.layers.discovery import Inputs

# In channels-last layout, the gradient of a 1 × 1 kernel has other strides for the same bytes.
warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")


class GradientSums:
    """Sums, over all processes, of the gradients of a model's trainable parameters.

    All processes must pass the same model and run the same backward pass.
    """

    def __init__(
        self, model: nn.Module, parameters: Mapping[str, nn.Parameter], switches_often: bool = False
    ) -> None:
        """Store the model.

        parameters: all parameters that may train, by name, in the order of the forward pass. The
        names appear in messages.
        switches_often: whether the set of trainable parameters changes every few steps. If so, one
        all_reduce after each backward pass replaces DistributedDataParallel. Wrapping the model
        again would cost more time than communication during the backward pass saves.
        """
        self._model, self._parameters, self._plain = model, parameters, switches_often
        self._meter = _Meter()
        self._engine: DistributedDataParallel | None = None
        self._expected: int | None = None

    @property
    def sent(self) -> int:
        """Bytes of gradients that this process has passed to all_reduce so far."""
        return self._meter.sent

    def forget(self) -> None:
        """Discard the wrapper of the model, because the set of trainable parameters has changed.

        Must not be called between a backward pass and `finish`.
        """
        self._engine = self._expected = None

    def wrap(self) -> None:
        """Wrap the model for the parameters that train now, unless it is wrapped already.

        The parameters must have no gradients.
        """
        if self._expected is not None:
            return
        self._expected = sum(p.numel() * p.element_size() for p in self._list_training())
        if not self._plain:
            # init_sync would overwrite the weights of all processes but the first, which hides a
            # difference. ProcessGroup.regroup reports it instead.
            self._engine = DistributedDataParallel(
                _TrainingPart(self._model, self._list_training()), init_sync=False
            )
            self._engine.register_comm_hook(self._meter, _sum_bucket)
            self._settle_buckets(self._engine)

    def forward(self, inputs: Inputs) -> Any:
        """Return the model's output. A backward pass and `finish` then sum the gradients."""
        self._meter.step = 0
        return self._model(*inputs) if self._engine is None else self._engine(*inputs)

    def finish(self) -> None:
        """Complete the sums. Must be called once after each backward pass.

        Raises UserError if a parameter got no gradient. DistributedDataParallel then still waits
        for that gradient, so some sums are incomplete.
        """
        if self._plain:
            self._sum_all()
        if self._meter.step != self._expected:
            lacking = [n for n, p in self._parameters.items() if p.requires_grad and p.grad is None]
            raise UserError(
                f"with replicas, every layer that trains must get a gradient at every step, but "
                f"{', '.join(lacking[:3]) or 'a layer'} got none; set replicas to 1"
            )

    def _list_training(self) -> list[nn.Parameter]:
        trained = (p for p in self._parameters.values() if p.requires_grad)
        return list(dict.fromkeys(trained))  # a tied weight has two names

    def _settle_buckets(self, engine: DistributedDataParallel) -> None:
        """Run a backward pass that reaches all parameters, from the last to the first.

        After its first backward pass, DistributedDataParallel rearranges its buckets in the order
        in which the gradients were computed. The order of additions in all_reduce depends on the
        position in a bucket. A resumed run could therefore differ in bits. This pass makes the
        order of the gradients always the same. The pass calls no layer, draws no random numbers and
        sends nothing.
        """
        self._meter.settling = True
        engine(settle=True).backward()
        self._meter.settling = False
        for parameter in self._list_training():
            parameter.grad = None

    def _sum_all(self) -> None:
        gradients = [p.grad for p in self._list_training() if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        self._meter.count(flat)
        pieces = flat.split([gradient.numel() for gradient in gradients])
        shaped = [p.view_as(g) for p, g in zip(pieces, gradients, strict=True)]
        torch._foreach_copy_(gradients, shaped)


class _TrainingPart(nn.Module):
    """Module that calls a model and registers only those of its parameters that train.

    The buffers of the model are not registered. DistributedDataParallel would broadcast them in
    each forward pass.
    """

    def __init__(self, model: nn.Module, trained: Iterable[nn.Parameter]) -> None:
        super().__init__()
        self._call = (model,)  # a tuple, so that the model is not registered as a submodule
        self.trained = nn.ParameterList(trained)

    def forward(self, *inputs: Tensor, settle: bool = False) -> Any:
        """Return the model's output, or a scalar that depends on each trainable parameter.

        settle: return the scalar, without calling the model.
        """
        if settle:
            return torch.stack([p.flatten()[0].float() for p in self.trained]).sum()
        return self._call[0](*inputs)


class _Meter:
    """Counter of the bytes passed to all_reduce: `sent` so far, `step` in the current step.

    settling: if true, buckets are neither sent nor counted.
    """

    def __init__(self) -> None:
        self.sent = self.step = 0
        self.settling = False

    def count(self, flat: Tensor) -> None:
        size = flat.numel() * flat.element_size()
        self.sent += size
        self.step += size


# A function with a state, because a bound method would keep the engine alive in a cycle through
# C++ that Python's garbage collector does not see.
def _sum_bucket(meter: _Meter, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """Sum a bucket over all processes. Without this hook, torch would compute the mean."""
    flat = bucket.buffer()
    if meter.settling:
        done: torch.futures.Future[Tensor] = torch.futures.Future(
            devices=[flat.device] if flat.is_cuda else []
        )
        done.set_result(flat)
        return done
    meter.count(flat)
    work: Any = dist.all_reduce(flat, async_op=True)
    summed: torch.futures.Future[Tensor] = work.get_future().then(lambda done: done.value()[0])
    return summed
