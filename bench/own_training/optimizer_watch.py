"""Hook on the user's optimizer, and learning rates that a strategy sets for each layer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.errors import UserError
from bench.strategy_api.output_checks import read_rates
from bench.strategy_api.strategy import Strategy
from bench.strategy_api.view import View
from bench.training.optimizer import compute_lr_factor

# A gradient scaler halves its scale at each step that it skips. It starts at 2**16.
MOST_SKIPPED = 30


def find_base_lr(group: Mapping[str, Any]) -> float:
    """Return the largest learning rate that a parameter group is known to reach.

    OneCycleLR sets `max_lr`. Every scheduler of PyTorch sets `initial_lr`.
    """
    return float(group.get("max_lr", group.get("initial_lr", group["lr"])))


class OptimizerWatch:
    """Hook on an optimizer that records each step.

    lr: learning rate of the first parameter group in the last step, before a scheduler changed it;
    before the first step, that of now.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.lr = float(optimizer.param_groups[0]["lr"])
        self._warned = False
        self._optimizer = optimizer
        self._before: dict[Tensor, Any] = dict(optimizer.state)  # until the first step
        self._noted: tuple[Tensor, Tensor, int] | None = None  # parameter, gradient, writes
        self._skipped = 0  # number of checks since the optimizer's last step
        self._hook = optimizer.register_step_post_hook(self._note)

    def check_gradients(self) -> None:
        """Raise UserError if gradients were cleared or changed since the optimizer's last step.

        A gradient scaler may skip a step of the optimizer. The call then checks nothing. Raises
        UserError if the optimizer has not stepped in more than `MOST_SKIPPED` calls. Another
        optimizer then probably trains the model.
        """
        self._skipped += 1
        if self._skipped > MOST_SKIPPED:
            raise UserError(
                f"Freezing: the optimizer that Freezing got ({type(self._optimizer).__name__}) has "
                f"not stepped in the last {self._skipped} calls of Freezing.step(); make Freezing "
                "with the optimizer that trains the model"
            )
        if self._noted is None:
            return
        parameter, gradient, writes = self._noted
        self._noted = None
        if parameter.grad is not gradient or gradient._version != writes:
            raise UserError(
                "Freezing: the gradients changed after optimizer.step(); call Freezing.step() "
                "right after it, before optimizer.zero_grad()"
            )

    def get_rate(self, base_lr: float) -> float:
        """Return the learning rate of the last step. Warn once if it is larger than base_lr."""
        if self.lr > base_lr * (1 + 1e-6) and not self._warned:
            self._warned = True
            warnings.warn(
                f"Freezing: the learning rate {self.lr:g} is larger than base_lr = {base_lr:g}, "
                "which strategies take for the largest one; pass the largest one as base_lr",
                stacklevel=3,
            )
        return self.lr

    def restore_state(self) -> None:
        """Put back optimizer state that existed before the first step and is missing now.

        A resumed training may load the optimizer before Freezing is made. Freezes before the first
        step then delete a part of the loaded state. These freezes do not apply to the resumed
        training.
        """
        for parameter, state in self._before.items():
            self._optimizer.state.setdefault(parameter, state)

    def close(self) -> None:
        """Remove the hook."""
        self._hook.remove()

    def _note(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self._before, self._skipped = {}, 0
        self.lr = float(optimizer.param_groups[0]["lr"])
        self._noted = next(
            (
                (parameter, parameter.grad, parameter.grad._version)
                for group in optimizer.param_groups
                for parameter in group["params"]
                if parameter.grad is not None
            ),
            None,
        )


class LayerRates:
    """Learning rates that a strategy sets, one per layer.

    layers: layer of each parameter group. rates: learning rate that each group has now.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, layers: Sequence[int]) -> None:
        self._optimizer, self._layers = optimizer, layers
        self.rates: list[float] = []

    def set_next(self, strategy: Strategy, name: str, view: View) -> None:
        """Set the learning rates of the next step.

        name: name of the strategy. Raises UserError if something else changed the rates since they
        were last set here.
        """
        groups = self._optimizer.param_groups
        for number, (group, ours) in enumerate(zip(groups, self.rates, strict=False)):
            if group["lr"] != ours:
                raise UserError(
                    f"Freezing: the learning rate of parameter group {number} is {group['lr']:g}, "
                    f"but strategy {name} set {ours:g}; remove what else sets it, such as a "
                    "scheduler"
                )
        view.lr = view.base_lr * compute_lr_factor(view.step, view.total_steps)
        by_layer = read_rates(name, strategy.learning_rates(view), len(view.layers))
        self.restore([by_layer[layer] for layer in self._layers])

    def restore(self, rates: Sequence[float]) -> None:
        """Set the learning rate of each group."""
        self.rates = list(rates)
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
