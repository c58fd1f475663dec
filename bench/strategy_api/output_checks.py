"""What a strategy answers, checked before it is acted on: one line that names it, and a remedy."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bench.errors import UserError

if TYPE_CHECKING:
    from bench.strategy_api.cadence import Cadence
    from bench.strategy_api.strategy import Verdict


def check_verdicts(strategy: str, answer: Any, layers: int) -> list[Verdict]:
    """What `decide` gave, as a list. Raises UserError unless it is verdicts on these layers."""
    wanted = f"let it return a list of Verdict on layers from 0 to {layers - 1}"
    if not isinstance(answer, Iterable):
        raise UserError(f"strategy {strategy}: decide() gave {answer!r}; {wanted}")
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
            raise UserError(f"strategy {strategy}: decide() gave {verdict!r}; {wanted}")
        if not 0 <= layer < layers:
            raise UserError(f"strategy {strategy}: decide() gave layer {layer}; {wanted}")
        if layer in judged:
            raise UserError(
                f"strategy {strategy}: decide() gave layer {layer} twice; {wanted}, one for each"
            )
        judged.add(layer)
    return verdicts


def check_cadence(strategy: str, method: str, answer: Any) -> Cadence:
    """What `stages` or `observations` gave. Raises UserError unless it is a cadence."""
    if not callable(getattr(answer, "due", None)):
        raise UserError(
            f"strategy {strategy}: {method}() gave {answer!r}; let it return a cadence, as "
            "PerEpoch(2)"
        )
    cadence: Cadence = answer
    return cadence


def check_steps(strategy: str, answer: Any) -> int:
    """What `total_steps` gave. Raises UserError unless it is a number of steps."""
    try:
        steps = operator.index(answer)
    except TypeError:
        steps = 0
    if steps < 1:
        raise UserError(
            f"strategy {strategy}: total_steps() gave {answer!r}; let it return a whole number "
            "from 1"
        )
    return steps


def check_rates(strategy: str, answer: Any, layers: int) -> Sequence[float]:
    """What `learning_rates` gave. Raises UserError unless it is a rate for each layer."""
    try:
        rates = [] if isinstance(answer, Mapping | set) else [float(rate) for rate in answer]
    except (TypeError, ValueError):
        rates = []
    if len(rates) != layers or not all(0 <= rate < math.inf for rate in rates):
        raise UserError(
            f"strategy {strategy}: learning_rates() gave {answer!r}; let it return {layers} "
            "numbers from 0, one a layer"
        )
    return rates


def check_trace(strategy: str, answer: Any) -> dict[str, Tensor]:
    """What `trace` gave, as copies on the CPU, which may share no memory in a file.

    Raises UserError unless it is dense tensors by name.
    """
    named = isinstance(answer, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) and value.layout is torch.strided
        for key, value in answer.items()
    )
    if not named:
        raise UserError(
            f"strategy {strategy}: trace() gave {answer!r}; let it return dense tensors by name"
        )
    return {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in answer.items()
    }


def check_cost(strategy: str, answer: Any) -> float:
    """What `cost` gave. Raises UserError unless it is a number of FLOPs."""
    try:
        cost = float(answer)
    except (TypeError, ValueError):
        cost = math.nan
    if not 0 <= cost < math.inf:
        raise UserError(
            f"strategy {strategy}: cost() gave {answer!r}; let it return FLOPs, a number from 0"
        )
    return cost
