"""Freezing in the Trainer of Lightning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils._pytree import tree_leaves

from bench.errors import UserError
from bench.own_training.freezing import Freezing
from bench.own_training.inputs import Example, move_example


class LightningFreezing(Callback):
    """Callback that freezes layers while the Trainer of Lightning trains.

        callback = LightningFreezing(example=images, model="network", strategy="lisa")
        Trainer(max_epochs=3, callbacks=[callback]).fit(module, loader)
        print(callback.freezing.report())

    Args:
        example: a batch of the model's inputs.
        model: attribute of the LightningModule that holds the network; default: the module itself.
        total_steps: number of optimizer steps; default: the number that the Trainer plans.
        steps_per_epoch: optimizer steps of an epoch; default: the number that the Trainer plans.
        **settings: further arguments of Freezing, such as strategy, options, seed and probe.

    The state of this callback is part of Lightning's checkpoints.

    Raises UserError at the start of training if Freezing does, or if the module does not have
    exactly one optimizer. Raises UserError if fit() continues a training without the state of
    this callback. Raises UserError later if the module takes several optimizer steps in one batch.
    """

    def __init__(
        self,
        *,
        example: Example,
        model: str = "",
        total_steps: int | None = None,
        steps_per_epoch: int | None = None,
        **settings: Any,
    ) -> None:
        self._example, self._model, self._settings = example, model, settings
        self._steps = total_steps, steps_per_epoch
        self._made: Freezing | None = None
        self._loaded: Mapping[str, Any] = {}

    @property
    def freezing(self) -> Freezing:
        """Freezing object of this training. Raises UserError before the training has begun."""
        if self._made is None:
            raise UserError("LightningFreezing: the training has not begun; call trainer.fit()")
        return self._made

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Create the Freezing object, and restore its state if the training resumes."""
        if len(trainer.optimizers) != 1:
            raise UserError(
                f"LightningFreezing: the module has {len(trainer.optimizers)} optimizers; freezing "
                "needs one that holds all parameters"
            )
        loaded, self._loaded = self._loaded, {}  # the next fit() must not load it again
        if trainer.global_step and not loaded:
            raise UserError(
                f"LightningFreezing: fit() continues after step {trainer.global_step}, but without "
                "the state of this callback; make a new Trainer, and call its fit() with the "
                "ckpt_path of a checkpoint made with this callback, or without ckpt_path"
            )
        total, epoch = self._steps
        try:
            model = pl_module.get_submodule(self._model)
        except AttributeError as error:
            raise UserError(
                f"LightningFreezing: the module has no submodule {self._model!r} ({error}); give "
                "the attribute that holds the network as `model`"
            ) from None
        self._made = Freezing(
            model,
            trainer.optimizers[0],
            example=move_example(self._example, pl_module.device),
            total_steps=total or _count_steps(trainer.estimated_stepping_batches, "total_steps"),
            steps_per_epoch=epoch or _count_epoch(trainer),
            **self._settings,
        )
        self._step, self._samples, self._losses = trainer.global_step, 0, list[Tensor]()
        if trainer.global_step:
            self._made.load_state_dict(loaded)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Call `Freezing.step` after each optimizer step; the strategy may freeze and thaw layers.

        With `accumulate_grad_batches`, several batches share one optimizer step. The call then
        follows the last of these batches, with the samples and losses of all these batches.
        """
        self._samples += _count_samples(batch)
        # Without a loss, Lightning skips the backward pass of the batch, and outputs are empty.
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            self._losses.append(loss.detach())
        steps = trainer.global_step - self._step
        if not steps:
            return
        if steps > 1:
            raise UserError(
                f"LightningFreezing: training_step() took {steps} optimizer steps in one batch, "
                "but this callback runs once; take one step in each batch, or use Freezing of "
                "bench.api without this callback and call its step() after each optimizer step"
            )
        total = torch.stack(self._losses).sum() if self._losses else None
        self.freezing.step(total, samples=self._samples)
        self._step, self._samples, self._losses = trainer.global_step, 0, []

    def state_dict(self) -> dict[str, Any]:
        """Return the state of Freezing, for Lightning's checkpoint."""
        return self._made.state_dict() if self._made else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the state from a checkpoint until the training starts."""
        self._loaded = state_dict


def _count_samples(batch: Any) -> int:
    """Return the length of the first tensor in a batch.

    Raises UserError if the batch has no tensor.
    """
    for value in tree_leaves(batch):
        if isinstance(value, Tensor) and value.ndim:
            return len(value)
    raise UserError(
        "LightningFreezing: cannot count the samples of a batch without a tensor (type: "
        f"{type(batch).__name__}); let the loader return tensors, or lists or dicts of them"
    )


def _count_epoch(trainer: Trainer) -> int:
    batches = trainer.num_training_batches
    return _count_steps(-(-batches // trainer.accumulate_grad_batches), "steps_per_epoch")


def _count_steps(number: float, name: str) -> int:
    """Return the number as an int. Raises UserError if it is infinite or below 1.

    name: the argument of LightningFreezing that sets this number, for the message.
    """
    if number == float("inf") or number < 1:
        raise UserError(
            f"LightningFreezing: the Trainer does not know {name}; pass {name} to LightningFreezing"
        )
    return int(number)
