"""Counts of the operators that a training step dispatches, which do not depend on timing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode


def count_operators(act: Callable[[], object]) -> Counter[tuple[object, ...]]:
    """Return how often `act` dispatches each operator, in forward, backward and optimizer.

    A key holds the operator's name, the shapes of its tensors and the values of its flags. Views
    are not counted, because they do not touch data. If an argument is a list of tensors, as in the
    optimizer, their order does not matter.
    """
    counts: Counter[tuple[object, ...]] = Counter()
    with _OperatorCounter(counts):
        act()
    return counts


def compare_operators(
    harness: Callable[[], object], reference: Callable[[], object]
) -> tuple[int, int]:
    """Return how many operator calls the harness has beyond the reference loop, and vice versa.

    harness, reference: functions that take one training step.
    """
    ours, theirs = count_operators(harness), count_operators(reference)
    return (ours - theirs).total(), (theirs - ours).total()


class _OperatorCounter(TorchDispatchMode):
    def __init__(self, counts: Counter[tuple[object, ...]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
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
    """Return the shape of a tensor, the value of a bool flag, or else the name of the type."""
    if isinstance(argument, Tensor):
        return str(list(argument.shape))
    if isinstance(argument, (list, tuple)):
        if all(isinstance(part, Tensor) for part in argument):
            return tuple(sorted(str(list(part.shape)) for part in argument))
        return tuple(map(_describe_argument, argument))
    return argument if isinstance(argument, bool) else type(argument).__name__
