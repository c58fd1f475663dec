"""Recording of the outputs of modules, and the dimension of an output that counts samples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.layers.modes import in_eval_mode

Kept = TypeVar("Kept")
UNKNOWN = -1  # sample dimension of an output whose shape changes in another way


def choose_watched(modules: Mapping[str, nn.Module], names: Sequence[str]) -> tuple[str, str]:
    """Return the names of the module whose output counts as a layer's output, and of its parent.

    names: modules of the layer, the weighted module first. The module is the last BatchNorm among
    them, otherwise the weighted module. If it is never called, the output of its parent counts.
    """
    norms = [name for name in names if isinstance(modules[name], _BatchNorm)]
    watched = norms[-1] if norms else names[0]
    return watched, watched.rpartition(".")[0]


def record_outputs(
    model: nn.Module,
    watched: Sequence[tuple[str, str]],
    inputs: Sequence[torch.Tensor],
    keep: Callable[[torch.Tensor], Kept],
) -> dict[int, Kept]:
    """Run one batch in eval mode. Return `keep(output)` for each entry of `watched`, by its index.

    watched: results of `choose_watched`. If an output is a tuple, its first element counts. Of each
    entry, only the first output that is a tensor counts. An entry without a tensor has no key.
    """
    modules = dict(model.named_modules())
    found: dict[int, Kept] = {}

    def hook(index: int) -> Callable[[nn.Module, object, Any], None]:
        def look(_: nn.Module, __: object, output: Any) -> None:
            tensor = output[0] if isinstance(output, tuple) else output
            if index not in found and isinstance(tensor, torch.Tensor):
                found[index] = keep(tensor)

        return look

    # If a batch is padded, these encoders pass nested tensors to their layers, which have no shape.
    nested = [
        module
        for module in modules.values()
        if isinstance(module, nn.TransformerEncoder) and module.use_nested_tensor
    ]
    # The parent's hook runs later, so its output counts only if the module itself was not called.
    handles = [
        modules[name].register_forward_hook(hook(index))
        for index, names in enumerate(watched)
        for name in names
    ]
    try:
        for encoder in nested:
            encoder.use_nested_tensor = False
        with torch.no_grad(), in_eval_mode(model):
            model(*inputs)
    finally:
        for encoder in nested:
            encoder.use_nested_tensor = True
        for handle in handles:
            handle.remove()
    return found


def find_sample_dims(
    model: nn.Module, watched: Sequence[tuple[str, str]], inputs: Sequence[torch.Tensor]
) -> dict[int, int | None]:
    """Return the dimension that counts samples in each output, by index into `watched`.

    This dimension doubles with the batch size. None stands for an output that does not depend on
    the batch size. UNKNOWN stands for any other change, and for a model that cannot take a batch of
    twice the size. The model does not change.
    """

    def record(batch: Sequence[torch.Tensor]) -> dict[int, tuple[int, ...]]:
        # A copy for each pass, because a model may keep tensors made for its first batch.
        copied = copy.deepcopy(model)
        return record_outputs(copied, watched, batch, lambda tensor: tuple(tensor.shape))

    once = record(inputs)
    twice: dict[int, tuple[int, ...]] = {}
    try:
        twice = record([x.repeat_interleave(2, 0) for x in inputs])
    except torch.OutOfMemoryError:
        raise
    except Exception:  # a model that takes one sample only; models have no common error class
        pass
    return {index: _compare_shapes(shape, twice.get(index)) for index, shape in once.items()}


def _compare_shapes(one: tuple[int, ...], two: tuple[int, ...] | None) -> int | None:
    if one == two:
        return None
    for dim, size in enumerate(one):
        if two == (*one[:dim], 2 * size, *one[dim + 1 :]):
            return dim
    return UNKNOWN
