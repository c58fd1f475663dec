"""Freezing in the Trainer of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from bench.batches.order import count_batch_samples
from bench.errors import UserError
from bench.own_training.freezing import Freezing
from bench.own_training.inputs import Example, move_example

FILE = "freezing.pt"
KEY = "freezebench"  # in trainer_state.json; must not be the name of a callback's class


class TrainerFreezing(TrainerCallback):  # type: ignore[misc]  # untyped in transformers
    """Callback that freezes layers while the Trainer of transformers trains.

        callback = TrainerFreezing(example=batch, strategy="lisa")
        Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()
        print(callback.freezing.report())

    Args:
        example: a batch of inputs, as the data collator makes it.
        total_steps: number of optimizer steps; default: the number that the Trainer plans.
        steps_per_epoch: optimizer steps of an epoch; default: the number that the Trainer plans.
        samples_per_epoch: training samples per epoch, to count a short last batch with its own
            number of samples. Default: the number that the Trainer knows. If only batch_size is
            given, every step counts as batch_size samples.
        batch_size: training samples per optimizer step; default: the number of the Trainer.
        **settings: further arguments of Freezing, such as strategy, options, seed and probe.

    Each checkpoint of the Trainer gets a file freezing.pt with the state of this callback.
    transformers does not tell a callback from which folder a training resumes. The callback
    therefore looks for the file in `checkpoint-STEP` of two folders: the present `output_dir`, and
    that of the training that wrote the checkpoint. A random token in freezing.pt and in
    trainer_state.json shows that both files belong to the same checkpoint.

    Raises UserError if Freezing does, and if the Trainer uses several GPUs. Raises UserError for a
    strategy that reads the training loss, which the Trainer does not pass on.
    """

    def __init__(
        self,
        *,
        example: Example,
        total_steps: int | None = None,
        steps_per_epoch: int | None = None,
        samples_per_epoch: int | None = None,
        batch_size: int | None = None,
        **settings: Any,
    ) -> None:
        self._example, self._settings = example, settings
        self._steps = total_steps, steps_per_epoch
        self._samples, self._batch = samples_per_epoch, batch_size or 0
        self._made: Freezing | None = None

    @property
    def freezing(self) -> Freezing:
        """Freezing object of this training. Raises UserError before the training has begun."""
        if self._made is None:
            raise UserError("TrainerFreezing: the training has not begun; call trainer.train()")
        return self._made

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        train_dataloader: Any = None,
        **_: Any,
    ) -> None:
        """Create the Freezing object, and restore its state if the training resumes."""
        if args.n_gpu > 1:
            raise UserError(
                f"TrainerFreezing: the Trainer uses {args.n_gpu} GPUs; set CUDA_VISIBLE_DEVICES to "
                "one of them"
            )
        total, epoch = self._steps
        self._made = Freezing(
            model,
            optimizer,
            example=move_example(self._example, next(model.parameters()).device),
            total_steps=total or state.max_steps,
            steps_per_epoch=epoch or _count_steps(args, train_dataloader),
            **self._settings,
        )
        if not self._batch:
            self._samples = self._samples or _count_samples(args, train_dataloader)
        self._batch = self._batch or args.train_batch_size * args.gradient_accumulation_steps
        if state.global_step:
            self._made.load_state_dict(_load_state(args, state))
        self._token = uuid4().hex
        folder = str(Path(args.output_dir).resolve())
        state.stateful_callbacks[KEY] = {"token": self._token, "folder": folder}

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Call `Freezing.step` after an optimizer step; the strategy may freeze and thaw layers."""
        samples = self._batch
        if self._samples:
            samples = count_batch_samples(state.global_step, self._samples, self._batch)
        self.freezing.step(samples=samples)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the state of Freezing into the folder of the Trainer's checkpoint."""
        path = _name_file(args.output_dir, state)
        torch.save({**self.freezing.state_dict(), "token": self._token}, path)


def _name_file(output_dir: str, state: TrainerState) -> Path:
    return Path(output_dir) / f"checkpoint-{state.global_step}" / FILE


def _load_state(args: TrainingArguments, state: TrainerState) -> dict[str, Any]:
    """Return the state of Freezing that belongs to the checkpoint from which a training resumes.

    freezing.pt and trainer_state.json of a checkpoint have the same random token, or none if an
    older version wrote them. Raises UserError if no freezing.pt belongs to the checkpoint.
    """
    written: dict[str, str] = state.stateful_callbacks.get(KEY, {})
    path = _name_file(args.output_dir, state)
    for place in dict.fromkeys((path, _name_file(written.get("folder", args.output_dir), state))):
        if place.exists():
            saved: dict[str, Any] = torch.load(place, map_location="cpu", weights_only=True)
            if saved.get("token") == written.get("token"):
                return saved
    raise UserError(
        f"TrainerFreezing: the training resumes after step {state.global_step}, but {path} "
        f"{'belongs to another training' if path.exists() else 'does not exist'}; resume from a "
        f"checkpoint made with this callback, or copy its {FILE} to {path.parent}"
    )


def _count_samples(args: TrainingArguments, loader: Any) -> int | None:
    """Return the number of training samples of an epoch, or None if the data has no length."""
    try:
        return min(len(loader.dataset), len(loader) * int(args.train_batch_size))
    except TypeError:
        return None


def _count_steps(args: TrainingArguments, loader: Any) -> int:
    """Return the optimizer steps of an epoch. Raises UserError if the data has no length."""
    try:
        batches = len(loader)
    except TypeError:
        raise UserError(
            "TrainerFreezing: the training data has no length; pass steps_per_epoch to "
            "TrainerFreezing"
        ) from None
    return -(-batches // int(args.gradient_accumulation_steps))
