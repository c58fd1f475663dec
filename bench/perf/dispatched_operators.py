"""Which operators a step has torch carry out: the work itself, which no noisy clock blurs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode


def count_operators(act: Callable[[], object]) -> Counter[tuple[object, ...]]:
    """What `act` dispatches, forward and backward: each operator with its shapes and switches.

    Views are left out, which touch no data. A list of tensors, which the optimizer takes, counts
    without its order.
    """
    counts: Counter[tuple[object, ...]] = Counter()
    with _OperatorCounter(counts):
        act()
    return counts


def compare_operators(harness: Callable[[], object], hand: Callable[[], object]) -> tuple[int, int]:
    """How many operators only the harness carries out, and how many only the loop by hand."""
    mine, hands = count_operators(harness), count_operators(hand)
    return (mine - hands).total(), (hands - mine).total()


class _OperatorCounter(TorchDispatchMode):
    def __init__(self, counts: Counter[tuple[object, ...]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts = counts

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        if not func.is_view:
            self.counts[(str(func), *map(_describe_argument, args))] += 1
        return func(*args, **(kwargs or {}))


def _describe_argument(argument: object) -> object:
    """The shape of a tensor, a switch's value (is this gradient asked for), or a type's name."""
    if isinstance(argument, Tensor):
        return str(list(argument.shape))
    if isinstance(argument, (list, tuple)):
        if all(isinstance(part, Tensor) for part in argument):
            return tuple(sorted(str(list(part.shape)) for part in argument))
        return tuple(map(_describe_argument, argument))
    return argument if isinstance(argument, bool) else type(argument).__name__
