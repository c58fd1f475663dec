"""Conversion of the user's model and inputs into the form that the analysis of layers needs."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.parameter import UninitializedParameter

from bench.errors import UserError, summarise_error
from bench.layers.activations import get_logits
from bench.layers.attachment import is_inside
from bench.layers.discovery import Inputs, find_calls

Example = Tensor | Sequence[Tensor] | Mapping[str, Any]


def check_model(model: nn.Module) -> None:
    """Raise UserError for a model that freezing does not support.

    A model, and each module in it, must not be wrapped, compiled, scripted or lazy. Sparse
    gradients, complex weights and torch.distributed are not supported.
    """
    kind = type(model).__name__
    if not isinstance(model, nn.Module):
        raise UserError(f"Freezing: {kind} is not a model; give the torch.nn.Module that trains")
    for name, module in model.named_modules():
        _check_module(name, module)
    # A model does not show that DistributedDataParallel wraps it. With one process, that class
    # raises an error after the first freeze, because frozen parameters take no part in the loss.
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        raise UserError(
            "Freezing: torch.distributed is in use; DistributedDataParallel cannot train layers "
            "that freeze, and several processes would each decide for themselves; train in one "
            "process, without init_process_group"
        )


def _check_module(name: str, module: nn.Module) -> None:
    """Raise UserError if the layers of a module cannot be frozen one by one.

    name: name of the module in the model, or "" for the model itself.
    """
    kind = type(module).__name__
    what = f"part {name} of the model" if name else "the model"
    if isinstance(module, (DataParallel, DistributedDataParallel)) or "FullySharded" in kind:
        where = f" ({what})" if name else ""
        raise UserError(f"Freezing: {kind} is not supported{where}; train the model on one device")
    if hasattr(module, "_orig_mod"):
        advice = (
            "leave torch.compile out, and call compile() of that part after Freezing is made"
            if name
            else "pass the model inside it, and wrap that model after Freezing is made"
        )
        raise UserError(f"Freezing: {what} is compiled; {advice}")
    if isinstance(module, torch.jit.ScriptModule):
        raise UserError(
            f"Freezing: {what} is a ScriptModule, which cannot freeze by layer; pass the module "
            "without torch.jit"
        )
    if getattr(module, "sparse", False) is True:
        raise UserError(
            f"Freezing: {what} ({kind}) makes sparse gradients, which are not supported; make it "
            "with sparse=False"
        )
    if any(parameter.is_complex() for parameter in module.parameters(False)):
        raise UserError(
            f"Freezing: {what} has complex weights, which are not supported; store their real and "
            "imaginary parts (torch.view_as_real) as the weight"
        )
    if any(isinstance(parameter, UninitializedParameter) for parameter in module.parameters(False)):
        raise UserError(
            f"Freezing: {what} has no weights yet; call the model on a batch first, and then make "
            "the optimizer"
        )


def bind_example(
    model: nn.Module, example: Example, argument: str = "example"
) -> tuple[nn.Module, Inputs]:
    """Return a model that takes an example as positional tensors, and these tensors.

    example: a batch of inputs: one tensor, several tensors in the order of `forward`, or a mapping
        from names of arguments of `forward` to tensors. An entry `labels` of a mapping is left out.
    argument: name of the argument of Freezing that is checked, for the message.

    The returned model shares all parameters, buffers and modules with `model`. If `model` takes the
    tensors as they are, the result is `model` itself. Raises UserError for another type of example.
    """
    names: tuple[str, ...] = ()
    if isinstance(example, Tensor):
        inputs: Inputs = (example,)
    elif isinstance(example, Mapping):
        given = {name: value for name, value in example.items() if name != "labels"}
        names, inputs = tuple(given), tuple(given.values())
    else:
        inputs = tuple(example) if isinstance(example, Sequence) else (example,)
    if not inputs or not all(isinstance(x, Tensor) and x.ndim and len(x) for x in inputs):
        kinds = ", ".join(_describe(value) for value in inputs) or "nothing"
        raise UserError(
            f"Freezing: {argument} holds {kinds}; give a batch of the model's inputs: a tensor, a "
            "tuple of tensors or a dict of tensors"
        )
    # accelerate replaces `forward` on the instance. A copy of the model would call the original.
    if not names and "forward" not in vars(model):
        return model, inputs
    return _take_positional(model, names), inputs


def check_forward(model: nn.Module, inputs: Inputs) -> None:
    """Raise UserError if a model cannot be copied, or if its copy in eval mode cannot run."""
    try:
        copied = copy.deepcopy(model).eval()
    except RuntimeError as error:
        raise UserError(
            f"Freezing: {type(model).__name__} cannot be copied "
            f"({summarise_error(error, with_type=True)}); make pruning permanent with prune.remove "
            "and use weight_norm and spectral_norm of torch.nn.utils.parametrizations"
        ) from error
    try:
        with torch.no_grad():
            get_logits(copied(*inputs))
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # models have no common error class
        raise UserError(
            f"Freezing: {type(model).__name__} cannot run on the example "
            f"({summarise_error(error, with_type=True)}); "
            "give a batch of the inputs of its forward, without labels, on the device of the model"
        ) from error


def find_training_only(model: nn.Module, inputs: Inputs) -> list[str]:
    """Return the outermost modules with weights that run in train mode, but not in eval mode.

    The result is [] if the model cannot run on the inputs in train mode. It may need labels then,
    or more samples.
    """
    used = set(find_calls(model, inputs))
    device = inputs[0].device
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            training = find_calls(model, inputs, training=True)
    except Exception:  # models have no common error class
        return []
    weighted = {n for n, module in model.named_modules() if any(True for _ in module.parameters())}
    extra = [n for n in dict.fromkeys(training) if n in weighted and n not in used]
    return [n for n in extra if not is_inside(n, [other for other in extra if other != n])]


def move_example(example: Example, device: torch.device) -> Example:
    """Return an example with its tensors on a device."""

    def move(value: Any) -> Any:
        return value.to(device) if isinstance(value, Tensor) else value

    if isinstance(example, Mapping):
        return {name: move(value) for name, value in example.items()}
    return tuple(map(move, example)) if isinstance(example, Sequence) else move(example)


def _describe(value: Any) -> str:
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
    return type(value).__name__ + shape


def _take_positional(model: nn.Module, names: tuple[str, ...]) -> nn.Module:
    """Return a model with the same contents whose `forward` takes tensors in the order of names.

    The returned model has a subclass of the class of `model`. A deep copy of it therefore runs the
    copied modules.
    """
    kind = type(model)

    def forward(self: nn.Module, *values: Tensor) -> Tensor:
        if names:
            return get_logits(kind.forward(self, **dict(zip(names, values, strict=True))))
        return get_logits(kind.forward(self, *values))

    adapted: nn.Module = object.__new__(type(kind.__name__, (kind,), {"forward": forward}))
    adapted.__dict__.update(vars(model))
    adapted.__dict__.pop("forward", None)
    return adapted
