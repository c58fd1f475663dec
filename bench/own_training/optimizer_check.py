"""Check that the user's optimizer can train a model whose layers freeze and thaw."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UserError, summarise_error
from bench.layers.discovery import Layer
from bench.layers.freezing import Freezer

TRIAL_RATE = 0.1  # learning rate of the trial; that of a warm-up may be zero


def unwrap_optimizer(optimizer: Any) -> torch.optim.Optimizer:
    """Return the optimizer inside a wrapper that accelerate or Lightning makes.

    Raises UserError if it is not an optimizer of PyTorch.
    """
    inner = getattr(optimizer, "optimizer", optimizer)
    if not isinstance(inner, torch.optim.Optimizer):
        raise UserError(
            f"Freezing: {type(optimizer).__name__} is not an optimizer of PyTorch; give the "
            "torch.optim.Optimizer that trains the model"
        )
    return inner


def check_optimizer(optimizer: torch.optim.Optimizer, keep_state: bool) -> None:
    """Raise UserError unless an optimizer leaves frozen layers alone and can train them again.

    keep_state: whether the optimizer state of a frozen layer is kept until it thaws.

    For each parameter group, a copy of the optimizer trains two small layers. One of the layers
    freezes and thaws.
    """
    name = type(optimizer).__name__
    for number, group in enumerate(optimizer.param_groups):
        _check_rate(name, number, group.get("lr"))
        if not group["params"]:  # transformers makes a group for weight decay and one without
            continue
        try:
            moved = _moves_frozen_layer(optimizer, group, keep_state)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # optimizers have no common error class
            reason = summarise_error(error, with_type=True)
            raise UserError(
                f"Freezing: optimizer {name} fails if a layer freezes and trains again ({reason}); "
                "use another one, such as SGD or AdamW"
            ) from error
        if moved:
            raise UserError(
                f"Freezing: optimizer {name} updates parameters that have no gradient, so frozen "
                "layers would change; use another one, such as SGD or AdamW"
            )


def _check_rate(optimizer: str, number: int, rate: Any) -> None:
    """Raise UserError unless the learning rate of a parameter group is a number."""
    if isinstance(rate, Tensor):
        raise UserError(
            f"Freezing: the learning rate of parameter group {number} is a tensor, and reading "
            "it would wait for the device; give the optimizer a number"
        )
    if not isinstance(rate, Real):  # Adafactor of transformers has None with relative_step
        raise UserError(
            f"Freezing: {optimizer} has the learning rate {rate!r} in parameter group {number}; "
            "give the optimizer a number, such as lr=1e-3 (Adafactor: relative_step=False too)"
        )


def check_groups(
    optimizer: torch.optim.Optimizer, model: nn.Module, layers: Sequence[Layer], by_layer: str
) -> list[int]:
    """Return the layer index of each parameter group, or -1 for every group if `by_layer` is "".

    by_layer: name of a strategy that sets a learning rate for each layer, else "".

    Raises UserError if the weight of a layer does not train, or if the optimizer lacks a parameter
    that trains. If `by_layer` is given, raises UserError as `_match_groups` does.
    """
    owner: dict[int, int] = {}  # layer by id of a parameter
    for layer in layers:
        own = [model.get_parameter(name) for name in layer.parameters]
        training = [parameter for parameter in own if parameter.requires_grad]
        if not own[0].requires_grad:
            raise UserError(
                f"Freezing: the weight of layer {layer.name} does not train (requires_grad is "
                "False); if an earlier Freezing froze it, call its release() first (after a "
                "Trainer: callback.freezing.release()), else model.requires_grad_(True)"
            )
        owner.update((id(parameter), layer.index) for parameter in training)
    held = [[owner.get(id(p), -1) for p in group["params"]] for group in optimizer.param_groups]
    known = {id(p) for group in optimizer.param_groups for p in group["params"]}
    absent = sorted({layer for parameter, layer in owner.items() if parameter not in known})
    if absent:
        raise UserError(
            f"Freezing: the optimizer lacks parameters of layer {layers[absent[0]].name}; one "
            "optimizer must hold all parameters that train"
        )
    if not by_layer:
        return [-1] * len(held)
    return _match_groups(optimizer, held, by_layer)


def group_by_layer(model: nn.Module, layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Return one parameter group for each layer, for an optimizer: `params` and the layer's `name`.

    Parameters that never train are left out.
    """
    groups = []
    for layer in layers:
        own = [model.get_parameter(name) for name in layer.parameters]
        groups.append({"params": [p for p in own if p.requires_grad], "name": layer.name})
    return groups


def _match_groups(
    optimizer: torch.optim.Optimizer, held: Sequence[Sequence[int]], strategy: str
) -> list[int]:
    """Return the layer index of each parameter group.

    held: layer of each parameter, by group; -1 for a parameter of no layer.
    strategy: name of the strategy, for messages.
    Raises UserError unless each group holds parameters of exactly one layer, all groups have one
    learning rate, and no scheduler is attached.
    """
    found = []
    for number, inside in enumerate(held):
        if len(set(inside)) != 1 or inside[0] < 0:
            raise UserError(
                f"Freezing: strategy {strategy} sets a learning rate for each layer, but parameter "
                f"group {number} does not hold the parameters of exactly one layer; build the "
                "optimizer from Freezing.parameter_groups(model, example)"
            )
        found.append(inside[0])
    groups = optimizer.param_groups
    if any("initial_lr" in group for group in groups):
        raise UserError(
            f"Freezing: strategy {strategy} sets the learning rates, but a scheduler of PyTorch is "
            "attached to the optimizer; remove the scheduler (transformers' Trainer always has one)"
        )
    if len({group["lr"] for group in groups}) > 1:
        raise UserError(
            f"Freezing: strategy {strategy} sets the learning rates from one base rate, but the "
            "parameter groups have different lr; give all groups the same lr"
        )
    return found


def _moves_frozen_layer(
    optimizer: torch.optim.Optimizer, group: dict[str, Any], keep_state: bool
) -> bool:
    """Return whether a copy of an optimizer moves a frozen layer.

    Raises any error of the optimizer, for example if it cannot train a thawed layer because the
    state of the layer was deleted.
    """
    model, layers = _build_trial_model(group["params"][0])
    parameters = list(model.parameters())
    twin = _copy_optimizer(optimizer, {**group, "params": parameters, "lr": TRIAL_RATE})
    freezer = Freezer(model, twin, layers, keep_state)

    def step() -> None:
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
        twin.step()

    step()
    step()
    freezer.freeze([0])
    before = parameters[0].detach().clone()
    step()
    step()
    moved = not torch.equal(before, parameters[0])
    freezer.thaw([0])
    step()
    return moved


def _build_trial_model(like: Tensor) -> tuple[nn.Module, list[Layer]]:
    """Return a model of two layers with four weights each, and the layers.

    like: tensor whose device and dtype the model gets.
    """
    kind = {"device": like.device, "dtype": like.dtype}
    with torch.random.fork_rng([like.device] if like.is_cuda else []):
        model = nn.Sequential(*(nn.Linear(2, 2, bias=False, **kind) for _ in range(2)))
    return model, [
        Layer(i, str(i), (str(i),), (f"{i}.weight",), 4, i, head=i == 1) for i in range(2)
    ]


def _copy_optimizer(optimizer: torch.optim.Optimizer, group: dict[str, Any]) -> Any:
    """Return an optimizer of the same class and settings, without state, for one group.

    The copy has no hooks and no `step` that a scheduler has wrapped.
    """
    twin = object.__new__(type(optimizer))
    plain = (int, float, bool, str, tuple, type(None))
    for name, value in vars(optimizer).items():
        if isinstance(value, plain) and not inspect.isroutine(value):
            vars(twin)[name] = value
    settings = {"defaults": dict(optimizer.defaults), "state": defaultdict(dict)}
    twin.__setstate__({**settings, "param_groups": [group]})
    return twin
