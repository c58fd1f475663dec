"""FLOPs of a training step for any set of frozen layers, in three conventions.

1 multiply-add = 2 FLOPs. Costs are per sample of one input shape.

paper: the convention of the tables in the SmartFRZ paper. fvcore counts the operators that it
    supports by default, with the model in eval mode. These operators include norms and pooling, but
    not fused attention. The backward pass of a layer costs 2 x its forward pass if the layer
    trains. It costs 1 x if the layer is frozen and an earlier layer trains, and 0 x in the frozen
    prefix.
exact: the products that autograd computes (convolution, linear, attention). The gradient of each
    factor costs as much as the product itself. Autograd computes it only if a layer that trains
    needs it. Attention is counted as its "math" backend computes it, in two products.
executed: exact, plus the products that fused attention kernels compute again in the backward pass
    (`bench.costs.fused_attention`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.costs.autograd_graph import (
    Checkpointing,
    Product,
    find_custom_functions,
    make_mask,
    trace_products,
)
from bench.costs.fvcore_flops import count_with_fvcore
from bench.errors import UserError
from bench.layers.discovery import Inputs, Layer

Convention = Literal["paper", "exact", "executed"]


@dataclass(frozen=True)
class Flops:
    """FLOPs of a forward pass and of its backward pass."""

    forward: float
    backward: float

    @property
    def total(self) -> float:
        """FLOPs of the forward and backward pass together."""
        return self.forward + self.backward

    def __add__(self, other: Flops) -> Flops:
        return Flops(self.forward + other.forward, self.backward + other.backward)

    def __mul__(self, samples: float) -> Flops:
        return Flops(self.forward * samples, self.backward * samples)


@dataclass(frozen=True)
class FlopModel:
    """FLOPs of one model at one input shape, per sample and per batch.

    A step may do some work once for the whole batch. Swin v2 computes its position bias with a
    small network, and DeBERTa projects a table of relative positions. The methods `paper`, `exact`
    and `executed` divide this fixed work by the mean number of samples of a batch.

    Attributes:
        forward: forward FLOPs per sample of each layer in the paper's convention, counted by
            fvcore.
        products: every product of the forward pass, for the exact and executed conventions.
        per_batch: further forward FLOPs per batch of each layer in the paper's convention; () if
            all are 0.
        samples_per_batch: mean number of samples in a batch.
    """

    forward: tuple[float, ...]
    products: tuple[Product, ...]
    per_batch: tuple[float, ...] = ()
    samples_per_batch: float = 1.0

    @property
    def has_costs_per_batch(self) -> bool:
        """Whether a batch costs FLOPs that do not depend on its number of samples."""
        return any(self.per_batch) or any(p.per_batch for p in self.products)

    @property
    def layer_costs(self) -> tuple[float, ...]:
        """Forward FLOPs per sample of each layer in the paper's convention, fixed work included."""
        if not any(self.per_batch):
            return self.forward
        return tuple(
            cost + more / self.samples_per_batch
            for cost, more in zip(self.forward, self.per_batch, strict=True)
        )

    def with_batch(self, samples: float) -> FlopModel:
        """Return the same FLOPs for batches with this mean number of samples."""
        return replace(self, samples_per_batch=samples)

    def paper(self, frozen: Collection[int] = ()) -> Flops:
        """Return the training FLOPs per sample in the paper's convention.

        frozen: indices of the frozen layers.
        """
        return self.sum_batches("paper", frozen, 1, 1 / self.samples_per_batch)

    def exact(self, frozen: Collection[int] = ()) -> Flops:
        """Return the training FLOPs per sample in the exact convention.

        frozen: indices of the frozen layers.
        """
        return self.sum_batches("exact", frozen, 1, 1 / self.samples_per_batch)

    def executed(self, frozen: Collection[int] = ()) -> Flops:
        """Return the training FLOPs per sample in the executed convention.

        frozen: indices of the frozen layers.
        """
        return self.sum_batches("executed", frozen, 1, 1 / self.samples_per_batch)

    @property
    def has_attention(self) -> bool:
        """Whether a fused attention kernel can compute any product."""
        return any(p.rebuilt for p in self.products)

    def sum_batches(
        self, convention: Convention, frozen: Collection[int], samples: float, batches: float
    ) -> Flops:
        """Return the training FLOPs of several batches together.

        frozen: indices of the frozen layers.
        samples: number of samples in all batches together.
        batches: number of batches.
        """
        if convention == "paper":
            each, once = _sum_paper(self.forward, frozen), _sum_paper(self.per_batch, frozen)
        else:
            fused = convention == "executed"
            each = _sum_exact(self.products, frozen, [p.flops for p in self.products], fused)
            once = _sum_exact(self.products, frozen, [p.per_batch for p in self.products], fused)
        return each * samples + once * batches

    def exact_forward(self, layer: int) -> float:
        """Return the forward FLOPs per sample of the products with one layer's weight."""
        own = [p for p in self.products if p.layer == layer]
        return sum(p.flops + p.per_batch / self.samples_per_batch for p in own)


def _sum_paper(costs: Sequence[float], frozen: Collection[int]) -> Flops:
    prefix = count_frozen_prefix(frozen, len(costs))
    backward = 0.0
    for index, cost in enumerate(costs):
        if index not in frozen:
            backward += 2 * cost
        elif index >= prefix:
            backward += cost
    return Flops(sum(costs), backward)


def _sum_exact(
    products: Sequence[Product], frozen: Collection[int], costs: Sequence[float], fused: bool
) -> Flops:
    training = ~make_mask(frozen)
    backward = 0.0
    for p, cost in zip(products, costs, strict=True):
        first, second = p.operands
        times = bool(first & training) + bool(second & training) + bool(p.checkpointed & training)
        times += fused and bool(p.rebuilt & training)
        backward += cost * times
    return Flops(float(sum(costs)), backward)


def count_frozen_prefix(frozen: Collection[int], layers: int) -> int:
    """Return the length of the frozen prefix: the number of leading layers that are frozen."""
    return next((i for i in range(layers) if i not in frozen), layers)


def count_flops(
    model: nn.Module,
    layers: Sequence[Layer],
    inputs: Inputs,
    checkpointing: Checkpointing | None = None,
    never_trained: Collection[str] = (),
) -> FlopModel:
    """Count the FLOPs of a model on copies of it; the model itself does not change.

    inputs: a batch of one sample.
    checkpointing: blocks whose forward pass runs again during the backward pass. The exact and
    executed conventions count the second pass. The paper's convention does not count it.
    never_trained: names of parameters that never train. All other parameters count as trainable,
    also those of frozen layers.
    Raises UserError if an operator is neither counted nor listed in NOT_COUNTED of
    bench/costs/fvcore_flops.py, if fvcore and the autograd graph give different totals, if the
    graph changes with the batch size, or if the FLOPs grow faster than the number of samples.
    """
    two = tuple(x.repeat_interleave(2, 0) for x in inputs)
    traced, unused = zip(
        *(
            _trace_all(model, layers, batch, checkpointing, never_trained)
            for batch in (inputs, two)
        ),
        strict=True,
    )
    forward = _count_and_compare(model, layers, inputs, traced[0])
    products = [(*each, *more) for each, more in zip(traced, unused, strict=True)]
    kinds = [[replace(p, flops=0) for p in each] for each in products]
    if kinds[0] != kinds[1]:
        raise UserError(
            f"{type(model).__name__}: its autograd graph changes with the batch size, so its exact"
            " FLOPs cannot be determined; use another model"
        )
    # The FLOPs of a batch are per_batch + flops × samples.
    split = tuple(
        replace(one, flops=both.flops - one.flops, per_batch=2 * one.flops - both.flops)
        for one, both in zip(*products, strict=True)
    )
    if any(p.per_batch < 0 for p in split):
        raise UserError(
            f"{type(model).__name__}: its FLOPs grow faster than the batch, so its exact FLOPs "
            "cannot be determined; use a model that has the samples in the first dimension "
            "of its inputs, and that never multiplies samples of a batch with each other"
        )
    if not any(p.per_batch for p in split):
        return FlopModel(forward, split)
    of_two = _count_and_compare(model, layers, two, traced[1])
    pairs = tuple(zip(forward, of_two, strict=True))
    return FlopModel(
        tuple(both - one for one, both in pairs),
        split,
        tuple(2 * one - both for one, both in pairs),
    )


class _ForwardFlops(TorchDispatchMode):
    """Dispatch mode that sums the FLOPs of all products that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        if count := flop_registry.get(func._overloadpacket):
            self.total += int(count(*args, **(kwargs or {}), out_val=output))
        return output


def _trace_all(
    model: nn.Module,
    layers: Sequence[Layer],
    inputs: Inputs,
    checkpointing: Checkpointing | None,
    never_trained: Collection[str],
) -> tuple[tuple[Product, ...], tuple[Product, ...]]:
    """Return the products of a step, and in a second tuple those whose result is not used.

    The second tuple is empty, or its one entry stands for all unused products. For example, the
    pooler of BigBird's classifier runs although nothing uses its output. It has no backward pass,
    and neither the autograd graph nor fvcore's trace contains it.

    A model of timm may call `torch.utils.checkpoint` in eval mode too. Each access to a saved
    tensor of its graph then runs products again. These repeated products are not counted. They must
    run with the attention backend of the forward pass, so the "math" backend stays on for them.
    """
    ran, totals = _ForwardFlops(), list[int]()
    hook = model.register_forward_hook(lambda *_: totals.append(ran.total))
    try:
        with sdpa_kernel(SDPBackend.MATH), ran:
            products = trace_products(model, layers, inputs, checkpointing, never_trained)
    finally:
        hook.remove()
    unused = totals[0] - sum(p.flops for p in products)
    return products, (Product(unused, (0, 0), None),) if unused > 0 else ()


def _count_and_compare(
    model: nn.Module, layers: Sequence[Layer], inputs: Inputs, products: Sequence[Product]
) -> tuple[float, ...]:
    """Return the forward FLOPs of a batch by layer in the paper's convention.

    Raises UserError if the FLOPs in `products` do not add up to fvcore's total for products.
    """
    forward, by_fvcore = count_with_fvcore(model, layers, inputs)
    by_graph = sum(p.flops for p in products)
    if by_fvcore == by_graph:
        return forward
    name, hidden = type(model).__name__, find_custom_functions(model, inputs)
    reason = (
        f"the products inside of {', '.join(hidden)} are not in the graph"
        if hidden
        else "its forward pass may use torch.no_grad()"
    )
    raise UserError(
        f"{name}: its exact FLOPs cannot be determined, because the FLOPs in products differ: "
        f"{by_fvcore:,} by fvcore, {by_graph:,} by the autograd graph ({reason}); use another model"
    )
