"""Train mode and eval mode of single modules, those of frozen layers included."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


class HeldInEval:
    """Replacement of a module's `train`, which keeps the module in eval mode until it is released.

    mode: the mode that the module would have now without the replacement. `train` and `eval` of
        the model change it. It also changes if a user puts some modules, such as all BatchNorms,
        into eval mode.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module, self.mode = module, module.training

    def __call__(self, mode: bool = True) -> nn.Module:
        """Note the mode, and stay in eval mode."""
        type(self._module).train(self._module, mode)  # the modules inside follow
        self._module.training, self.mode = False, mode
        return self._module

    def __reduce__(self) -> tuple[Any, ...]:
        """Replace this object by the `train` of the module's class in copies and pickles."""
        return getattr, (self._module, "train")


def hold_in_eval(module: nn.Module) -> None:
    """Keep a module in eval mode, also after `train()` of the model."""
    held = HeldInEval(module)
    switch_mode(module, False)
    # Only a method of this one object may change, which mypy cannot express.
    module.train = held  # type: ignore[method-assign]


def release_mode(module: nn.Module) -> None:
    """Give a module the mode that it would have without `hold_in_eval`.

    Do nothing if the module is not held in eval mode.
    """
    if held := _find_hold(module):
        del module.__dict__["train"]
        switch_mode(module, held.mode)


def switch_mode(module: nn.Module, mode: bool) -> None:
    """Switch one module to train or eval mode, without the modules inside it.

    A class may override `train` to delete what its forward pass stored in eval mode, such as
    LeViT's attention biases. The override must run, because the stored values come from old
    weights.
    """
    if type(module).train is nn.Module.train:
        module.training = mode
        return
    with _keep_modes(each for each in module.modules() if each is not module):
        type(module).train(module, mode)


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode inside the block, then restore the mode of each module."""
    training = [module for module in model.modules() if module.training]
    try:
        with _keep_modes(model.modules()):
            model.eval()
            yield
    finally:
        for module in training:
            switch_mode(module, True)


def copy_in_train_mode(model: nn.Module) -> nn.Module:
    """Return a copy in train mode, except for the modules that are held in eval mode."""
    copied = copy.deepcopy(model)
    train_copy(copied, model)
    return copied


def train_copy(copied: nn.Module, model: nn.Module) -> None:
    """Put a copy of a model into train mode, except for the modules that the model holds in eval.

    The copy may lack some of the modules.
    """
    copied.train()
    own = dict(copied.named_modules())
    for name, module in model.named_modules():
        if name in own and _find_hold(module):
            switch_mode(own[name], False)


@contextmanager
def _keep_modes(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Restore the modes of modules after the block, by setting attributes and not by `train`."""
    before = [
        (module, module.training, held, held and held.mode)
        for module in modules
        for held in [_find_hold(module)]
    ]
    try:
        yield
    finally:
        for module, training, held, mode in before:
            module.training = training
            if held:
                held.mode = bool(mode)


def _find_hold(module: nn.Module) -> HeldInEval | None:
    held = module.__dict__.get("train")
    return held if isinstance(held, HeldInEval) else None
