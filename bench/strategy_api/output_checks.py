"""Checks of a strategy's return values. An error names the strategy, the value and the fix."""

from __future__ import annotations

import math
import operator
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.strategy_api.cadence import AtSteps
from bench.strategy_api.strategy import Decision

if TYPE_CHECKING:
    from bench.strategy_api.cadence import Cadence
    from bench.strategy_api.strategy import Strategy

# Exact types, because torch.load(weights_only=True) rejects other mappings and all subclasses.
MAPPINGS = (dict, OrderedDict, Counter)
SEQUENCES = (list, tuple, set, torch.Size)
PLAIN = (int, float, bool, str, bytes, type(None), Tensor, nn.Parameter)
NOT_A_NUMBER = (TypeError, ValueError, RuntimeError, OverflowError)  # raised by float and index
LONGEST = 300  # characters of a value in a message


def read_decision_list(strategy: str, answer: Any, layers: int, head: str = "") -> list[Decision]:
    """Return the result of `decide` as a list of Decisions that hold plain Python values.

    Strategies may use numpy or torch numbers. A torch tensor and an int of the same value have
    different hashes, so a lookup of a tensor in a set of layer indices would fail.

    layers: number of layers, the last of which is the head.
    head: name of the head, for the message.
    Raises UserError for an object without a valid layer, freeze, score and threshold, for a
    Decision that freezes the head, and for a layer that does not exist or has two Decisions.
    """
    wanted = (
        f"it must return a list of Decision objects for layers 0 to {layers - 1}, each with an "
        "integer layer, freeze = True or False, and a score and a threshold that are numbers"
    )
    try:
        given = iter(answer)
    except TypeError:
        raise UserError(
            f"strategy {strategy}: decide() returned {_show(answer)}; {wanted}"
        ) from None
    decisions: dict[int, Decision] = {}
    for each in given:
        try:
            decision = _read_decision(each)
        except (AttributeError, *NOT_A_NUMBER):
            raise UserError(
                f"strategy {strategy}: decide() returned {_show(each)}; {wanted}"
            ) from None
        layer = decision.layer
        if not 0 <= layer < layers:
            raise UserError(f"strategy {strategy}: decide() returned layer {layer}; {wanted}")
        if layer == layers - 1 and decision.freeze:
            raise UserError(
                f"strategy {strategy}: decide() freezes layer {layer}{head and f' ({head})'}, the "
                "head, which must train; freeze layers in view.active only"
            )
        if layer in decisions:
            raise UserError(
                f"strategy {strategy}: decide() returned layer {layer} twice; it must return at "
                "most one Decision for each layer"
            )
        decisions[layer] = decision
    return list(decisions.values())


def read_cadence(strategy: str, method: str, answer: Any) -> Cadence:
    """Return the result of `stages` or `observations`.

    Raises UserError unless it is a Cadence. Also raises it for an `AtSteps` whose steps are not all
    whole numbers of at least 0.
    """
    subject = f"strategy {strategy}: {method}() returned"
    if isinstance(answer, type):
        raise UserError(
            f"{subject} the class {answer.__name__}; write parentheses after it, for example "
            "EverySteps(10)"
        )
    if not callable(getattr(answer, "due", None)):
        raise UserError(
            f"{subject} {_show(answer)}; it must return a cadence, for example PerEpoch(2)"
        )
    if type(answer) is AtSteps and not _can_be_due(answer.steps):
        raise UserError(
            f"{subject} {_show(answer)}; give a set of Python ints of at least 0, for example "
            "AtSteps(frozenset({0, 100}))"
        )
    cadence: Cadence = answer
    return cadence


def read_steps(strategy: str, answer: Any) -> int:
    """Return the result of `total_steps`. Raises UserError unless it is a positive integer."""
    try:
        steps = _read_index(answer)
    except NOT_A_NUMBER:
        steps = 0
    if steps < 1:
        raise UserError(
            f"strategy {strategy}: total_steps() returned {_show(answer)}; it must return a "
            "whole number of at least 1"
        )
    return steps


def read_rates(strategy: str, answer: Any, layers: int) -> Sequence[float]:
    """Return the result of `learning_rates`.

    Raises UserError unless it has one finite number of at least 0 per layer.
    """
    try:
        rates = [] if isinstance(answer, Mapping | set) else [float(rate) for rate in answer]
    except NOT_A_NUMBER:
        rates = []
    if len(rates) != layers or not all(0 <= rate < math.inf for rate in rates):
        raise UserError(
            f"strategy {strategy}: learning_rates() returned {_show(answer)}; it must return "
            f"{layers} finite numbers of at least 0, one per layer"
        )
    return rates


def read_trace(strategy: str, answer: Any) -> dict[str, Tensor]:
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
            f"strategy {strategy}: trace() returned {_show(answer)}; it must return a dict of "
            "dense tensors"
        )
    return {
        key: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in answer.items()
    }


def read_cost(strategy: str, answer: Any) -> float:
    """Return the result of `cost` in FLOPs. Raises UserError unless it is finite and at least 0."""
    try:
        cost = float(answer)
    except NOT_A_NUMBER:
        cost = math.nan
    if not 0 <= cost < math.inf:
        raise UserError(
            f"strategy {strategy}: cost() returned {_show(answer)}; it must return a finite "
            "number of FLOPs of at least 0"
        )
    return cost


def check_plain(value: Any, where: str, owner: str = "") -> None:
    """Raise UserError unless a value consists of types that `load_checkpoint` can read.

    where: name of the value in the error message.
    owner: first words of the message.
    """
    if type(value) in MAPPINGS:
        for key, inner in value.items():
            check_plain(key, f"a key of {where}", owner)
            check_plain(inner, f"{where}[{key!r}]", owner)
    elif type(value) in SEQUENCES:
        for inner in value:
            check_plain(inner, f"an element of {where}", owner)
    elif type(value) not in PLAIN:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise UserError(
            f"{owner}{where} has the type {kind}, which a checkpoint cannot hold; use tensors, "
            "Python numbers, strings, lists, tuples and dicts"
        )


def check_late_answers(strategy: Strategy, name: str) -> None:
    """Check return values that are used only late in a run, so that errors appear at its start.

    name: name of the strategy, for the message.
    """
    for method in ("observations", "stages"):
        read_cadence(name, method, getattr(strategy, method)())
    read_cost(name, strategy.cost())
    state = strategy.state_dict()
    if not isinstance(state, dict):
        raise UserError(
            f"strategy {name}: state_dict() returned {_show(state)}; it must return a dict"
        )
    check_plain(state, "state_dict()", f"strategy {name}: ")


def _read_decision(given: Any) -> Decision:
    """Return a Decision as plain Python values. Raises AttributeError or one of NOT_A_NUMBER."""
    if given.freeze not in (True, False):
        raise ValueError
    return Decision(
        _read_index(given.layer), bool(given.freeze), float(given.score), float(given.threshold)
    )


def _read_index(value: Any) -> int:
    """Return a whole number as an int. Raises TypeError for anything else, and for a boolean."""
    if isinstance(value, bool) or (isinstance(value, Tensor) and value.dtype is torch.bool):
        raise TypeError
    return operator.index(value)


def _can_be_due(steps: Any) -> bool:
    """Return whether `steps` holds only whole numbers of at least 0.

    Tensors do not pass, because AtSteps looks steps up in a set, which does not find them.
    """
    try:
        whole = {int(step) for step in steps}
        return isinstance(steps, Collection) and whole == set(steps) and min(whole, default=0) >= 0
    except NOT_A_NUMBER:
        return False


def _show(value: Any) -> str:
    """Return a value as one shortened line for a message. Line breaks in its repr become spaces."""
    try:
        line = " ".join(repr(value).split())
    except ValueError:  # Python prints no int of more than 4300 digits
        line = f"a very long {type(value).__name__}"
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}..."
