"""Checks of a strategy's return values. An error names the strategy, the value and the fix."""

from __future__ import annotations

import math
import operator
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.strategy_api.cadence import Cadence
    from bench.strategy_api.strategy import Strategy, Verdict

PLAIN = (int, float, bool, str, bytes, type(None))


def check_verdicts(strategy: str, answer: Any, layers: int, head: str = "") -> list[Verdict]:
    """Return the result of `decide` as a list.

    layers: number of layers, the last of which is the head. head: its name, for the message.
    Raises UserError for anything but Verdicts, for a layer that does not exist or has two Verdicts,
    and for a Verdict that freezes the head.
    """
    wanted = f"it must return a list of Verdict objects for layers 0 to {layers - 1}"
    if not isinstance(answer, Iterable):
        raise UserError(f"strategy {strategy}: decide() returned {answer!r}; {wanted}")
    verdicts = list(answer)
    judged: set[int] = set()
    for verdict in verdicts:
        try:
            layer = operator.index(verdict.layer)
            float(verdict.score), float(verdict.threshold)
            whether = verdict.freeze in (True, False)
        except (AttributeError, TypeError, ValueError, RuntimeError, OverflowError):
            whether = False
        if not whether:
            raise UserError(f"strategy {strategy}: decide() returned {verdict!r}; {wanted}")
        if not 0 <= layer < layers:
            raise UserError(f"strategy {strategy}: decide() returned layer {layer}; {wanted}")
        if layer == layers - 1 and verdict.freeze:
            raise UserError(
                f"strategy {strategy}: decide() freezes layer {layer}{head and f' ({head})'}, the "
                "head, which must train; return verdicts for layers in view.active only"
            )
        if layer in judged:
            raise UserError(
                f"strategy {strategy}: decide() returned layer {layer} twice; {wanted}, "
                "one per layer"
            )
        judged.add(layer)
    return verdicts


def check_cadence(strategy: str, method: str, answer: Any) -> Cadence:
    """Return the result of `stages` or `observations`. Raises UserError unless it is a Cadence."""
    if not callable(getattr(answer, "due", None)):
        raise UserError(
            f"strategy {strategy}: {method}() returned {answer!r}; it must return a cadence, for "
            "example PerEpoch(2)"
        )
    cadence: Cadence = answer
    return cadence


def check_steps(strategy: str, answer: Any) -> int:
    """Return the result of `total_steps`. Raises UserError unless it is a positive integer."""
    try:
        steps = operator.index(answer)
    except TypeError:
        steps = 0
    if steps < 1:
        raise UserError(
            f"strategy {strategy}: total_steps() returned {answer!r}; it must return a whole "
            "number of at least 1"
        )
    return steps


def check_rates(strategy: str, answer: Any, layers: int) -> Sequence[float]:
    """Return the result of `learning_rates`.

    Raises UserError unless it has one finite number of at least 0 per layer.
    """
    try:
        rates = [] if isinstance(answer, Mapping | set) else [float(rate) for rate in answer]
    except (TypeError, ValueError):
        rates = []
    if len(rates) != layers or not all(0 <= rate < math.inf for rate in rates):
        raise UserError(
            f"strategy {strategy}: learning_rates() returned {answer!r}; it must return {layers} "
            "numbers of at least 0, one per layer"
        )
    return rates


def check_trace(strategy: str, answer: Any) -> dict[str, Tensor]:
    """Return the result of `trace` as contiguous copies on the CPU.

    The copies are needed because a safetensors file cannot hold tensors that share memory.
    Raises UserError unless the result maps names to dense tensors.
    """
    named = isinstance(answer, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) and value.layout is torch.strided
        for key, value in answer.items()
    )
    if not named:
        raise UserError(
            f"strategy {strategy}: trace() returned {answer!r}; it must return a dict of "
            "dense tensors"
        )
    return {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in answer.items()
    }


def check_cost(strategy: str, answer: Any) -> float:
    """Return the result of `cost` in FLOPs. Raises UserError unless it is finite and at least 0."""
    try:
        cost = float(answer)
    except (TypeError, ValueError):
        cost = math.nan
    if not 0 <= cost < math.inf:
        raise UserError(
            f"strategy {strategy}: cost() returned {answer!r}; it must return a number of "
            "FLOPs of at least 0"
        )
    return cost


def check_plain(value: Any, where: str) -> None:
    """Raise UserError unless a value consists of types that `load_checkpoint` can read.

    where: the value in words, for the message.
    """
    if type(value) in (dict, OrderedDict, Counter):  # weights_only=True rejects other mappings
        for key, inner in value.items():
            check_plain(key, f"a key of {where}")
            check_plain(inner, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple | set):
        for inner in value:
            check_plain(inner, f"an element of {where}")
    elif type(value) not in PLAIN and not isinstance(value, torch.Tensor):
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise UserError(
            f"{where} is a {kind}, which a checkpoint cannot hold; use tensors, Python numbers, "
            "strings, lists and dicts"
        )


def check_late_answers(strategy: Strategy, name: str) -> None:
    """Check return values that are used only late in a run, so that errors appear at its start.

    name: name of the strategy, for the message.
    """
    for method in ("observations", "stages"):
        check_cadence(name, method, getattr(strategy, method)())
    check_cost(name, strategy.cost())
    check_plain(strategy.state_dict(), f"strategy {name}: state_dict()")
