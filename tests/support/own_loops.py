"""Training loops such as users write, with the model, data and seed of a run of the harness."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset

from bench.api import Freezing
from bench.batches.interface import AnyBatches
from bench.seeds import seed_device
from bench.spec import Spec
from bench.training.optimizer import compute_lr_factor
from bench.training.run_state import RunState


class OwnLoop:
    """Model and data of a run, an optimizer made by hand, and arguments for Freezing.

    probe_samples: number of training samples in the probe.
    """

    def __init__(self, spec: Spec, results: Path, probe_samples: int = 64) -> None:
        run = RunState(spec, results)
        self.spec, self.model, self.layers = spec, run.model, run.layers
        self.batches: AnyBatches = run.batches
        self.total, self.epoch = run.view.total_steps, run.view.steps_per_epoch
        self.example = self.batches.batch(0)[0][0]
        self.by_layer = run.strategy.sets_learning_rates
        probe, labels = self.batches.labelled_probe(probe_samples)
        self.settings: dict[str, Any] = {
            "strategy": spec.strategy,
            "options": dict(spec.options),
            "seed": spec.seed,
            "files": {k: v for k, v in spec.paths.items() if k == "predictor"},
            "probe": (probe[0], labels),
        }

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return SGD with the settings of the run and two parameter groups: body and head.

        If the strategy sets learning rates, there is one group per layer instead.
        """
        head = list(self.model.get_submodule(self.layers[-1].name).parameters())
        body = [p for p in self.model.parameters() if all(p is not own for own in head)]
        groups: list[Any] = [{"params": body}, {"params": head}]
        if self.by_layer:
            groups = Freezing.parameter_groups(self.model, self.example)
        settings: dict[str, Any] = {"momentum": self.spec.momentum, "fused": True}
        settings["weight_decay"] = self.spec.weight_decay
        return torch.optim.SGD(groups, lr=self.spec.lr, **settings)

    def make_scheduler(self, optimizer: torch.optim.Optimizer) -> LambdaLR:
        """Return the cosine schedule of the run."""
        return LambdaLR(optimizer, lambda step: compute_lr_factor(step, self.total))

    def make_freezing(self, optimizer: torch.optim.Optimizer, **changes: Any) -> Freezing:
        """Return Freezing with the settings of the run."""
        lengths = {"total_steps": self.total, "steps_per_epoch": self.epoch}
        values = {"example": self.example, **lengths, **self.settings, **changes}
        return Freezing(self.model, optimizer, **values)

    def compute_loss(self, step: int, images: Tensor, labels: Tensor) -> Tensor:
        """Return the training loss of a step. Dropout uses the random numbers of the run."""
        seed_device(images.device, self.spec.seed, "step", step)
        return F.cross_entropy(self.model(images), labels)


def train_plainly(own: OwnLoop, saved: Path | None = None, stop: int = 0) -> Freezing:
    """Train in a plain loop.

    saved: checkpoint file. If it exists, the training continues from it.
    stop: step after which the training ends and writes the file. With 0, it trains to the end and
        writes no file.
    """
    optimizer = own.make_optimizer()
    scheduler = None if own.by_layer else own.make_scheduler(optimizer)
    parts: dict[str, Any] = {"model": own.model, "optimizer": optimizer}
    parts |= {"scheduler": scheduler} if scheduler else {}
    state = torch.load(saved, weights_only=True) if saved and saved.exists() else {}
    # A strategy that sets learning rates needs the base rate, which a loaded optimizer lacks.
    freezing = own.make_freezing(optimizer) if own.by_layer else None
    for name, part in parts.items() if state else ():
        part.load_state_dict(state[name])
    # As in the Trainers, `start` of all other strategies sees the loaded weights.
    parts["freezing"] = freezing = freezing or own.make_freezing(optimizer)
    if state:
        freezing.load_state_dict(state["freezing"])
    begin = state["freezing"]["step"] if state else 0
    for step in range(begin, stop or own.total):
        own.model.train()
        (images,), labels = own.batches.batch(step)
        optimizer.zero_grad()
        loss = own.compute_loss(step, images, labels)
        loss.backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
        freezing.step(loss, samples=len(labels))
    if stop and saved:
        torch.save({name: part.state_dict() for name, part in parts.items()}, saved)
    return freezing


class Steps(Dataset[dict[str, Any]]):
    """Data set whose items are the batches of a run, in the order in which the run uses them."""

    def __init__(self, own: OwnLoop) -> None:
        self._own = own

    def __len__(self) -> int:
        return self._own.total

    def __getitem__(self, step: int) -> dict[str, Any]:
        (images,), labels = self._own.batches.batch(step)
        return {"step": step, "images": images, "labels": labels}


def train_with_transformers(own: OwnLoop, place: Path, resume: int = 0, **changes: Any) -> Freezing:
    """Train with the Trainer of transformers.

    resume: step of the checkpoint to continue from, or 0 for a new training.
    """
    from transformers import Trainer, TrainingArguments

    from bench.api.transformers import TrainerFreezing

    class OwnTrainer(Trainer):  # type: ignore[misc]  # untyped in transformers
        def compute_loss(self, model: nn.Module, inputs: dict[str, Any], **_: Any) -> Any:
            return own.compute_loss(inputs["step"], inputs["images"], inputs["labels"])

        def _get_train_sampler(self, *_: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    optimizer = own.make_optimizer()
    lengths = {"steps_per_epoch": own.epoch, "samples_per_epoch": own.batches.samples}
    callback = TrainerFreezing(
        example=own.example, batch_size=own.spec.batch_size, **lengths, **own.settings
    )
    arguments = TrainingArguments(
        str(place), per_device_train_batch_size=1, num_train_epochs=1, max_grad_norm=0,
        save_strategy="steps", save_steps=own.total // 3, report_to=[], disable_tqdm=True,
        use_cpu=own.example.device.type == "cpu", remove_unused_columns=False, **changes,
    )  # fmt: skip
    trainer = OwnTrainer(
        own.model, arguments, train_dataset=Steps(own), data_collator=lambda items: items[0],
        callbacks=[callback], optimizers=(optimizer, own.make_scheduler(optimizer)),
    )  # fmt: skip
    trainer.train(resume_from_checkpoint=str(place / f"checkpoint-{resume}") if resume else None)
    return callback.freezing


def train_with_lightning(own: OwnLoop, place: Path, resume: int = 0) -> Freezing:
    """Train with the Trainer of Lightning.

    resume: step of the checkpoint to continue from, or 0 for a new training.
    """
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.callbacks import ModelCheckpoint

    from bench.api.lightning import LightningFreezing

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = own.model

        def training_step(self, batch: dict[str, Any], _: int) -> Tensor:
            # A resumed Trainer starts its loader anew, so read the batch of the step itself.
            (images,), labels = own.batches.batch(self.global_step)
            return own.compute_loss(self.global_step, images, labels)

        def configure_optimizers(self) -> Any:
            optimizer = own.make_optimizer()
            schedule = {"scheduler": own.make_scheduler(optimizer), "interval": "step"}
            return {"optimizer": optimizer} | ({} if own.by_layer else {"lr_scheduler": schedule})

    callback = LightningFreezing(
        example=own.example, model="network", steps_per_epoch=own.epoch, **own.settings
    )
    keep = ModelCheckpoint(place, "{step}", every_n_train_steps=own.total // 3, save_top_k=-1)
    trainer = Trainer(
        max_epochs=1, callbacks=[callback, keep], logger=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="auto" if own.example.is_cuda else "cpu",
    )  # fmt: skip
    loader = DataLoader(Steps(own), batch_size=None)
    path = place / f"step={resume}.ckpt" if resume else None
    trainer.fit(Module(), loader, ckpt_path=path)
    return callback.freezing
