"""Laws of the callbacks for Trainers: each batch counts once, and each training begins anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from bench.errors import UserError
from tests.support.tiny_loop import Scripted, make_batch
from tests.support.tiny_view import build_tiny_net

SAMPLES = 22  # batches of 4: five full ones and one of 2 samples
EPOCHS = 2


class Images(Dataset[dict[str, Any]]):
    """Samples on noise. `scale` is the same for all samples of a batch."""

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, sample: int) -> dict[str, Any]:
        images, labels = make_batch(sample, 1)
        return {"images": images[0], "labels": labels[0]}


def collate(items: list[dict[str, Any]]) -> dict[str, Tensor]:
    both = {name: torch.stack([item[name] for item in items]) for name in ("images", "labels")}
    return {"scale": torch.tensor(1.0), **both}


def make_settings(**changes: Any) -> dict[str, Any]:
    return {"example": make_batch(0)[0], "strategy": Scripted(script="2+01"), **changes}


def test_the_trainer_of_transformers_counts_every_sample(tmp_path: Path) -> None:
    """The second step of an epoch has one full batch and one of 2 samples, instead of 4."""
    from transformers import Trainer, TrainingArguments

    from bench.api.transformers import TrainerFreezing

    class Own(Trainer):  # type: ignore[misc]  # untyped in transformers
        def compute_loss(self, model: nn.Module, inputs: dict[str, Any], **_: Any) -> Any:
            return F.cross_entropy(model(inputs["images"]), inputs["labels"])

    callback = TrainerFreezing(**make_settings())
    arguments = TrainingArguments(
        str(tmp_path), per_device_train_batch_size=4, num_train_epochs=EPOCHS, use_cpu=True,
        gradient_accumulation_steps=4, report_to=[], disable_tqdm=True,
        save_strategy="no", remove_unused_columns=False,
    )  # fmt: skip
    Own(build_tiny_net(), arguments, train_dataset=Images(), callbacks=[callback]).train()
    report = callback.freezing.report()
    assert report.steps == report.total_steps == EPOCHS * 2
    assert report.samples == EPOCHS * SAMPLES


class Fit:
    """Training of a small LightningModule. skip: whether every second batch has no loss."""

    def __init__(self, callback: Any, skip: bool = False) -> None:
        from lightning.pytorch import LightningModule

        class Module(LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.network = build_tiny_net()

            def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor | None:
                if skip and number % 2:
                    return None
                return F.cross_entropy(self.network(batch["images"]), batch["labels"])

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

        self.module, self.callback = Module(), callback

    def run(self, epochs: int, saved: Path | None = None, resume: Path | None = None) -> Any:
        """Train, save a checkpoint if a path is given, and return the report."""
        from lightning.pytorch import Trainer

        trainer = Trainer(
            max_epochs=epochs, callbacks=[self.callback], logger=False, accelerator="cpu",
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        loader = DataLoader(Images(), batch_size=4, collate_fn=collate)
        trainer.fit(self.module, loader, ckpt_path=resume)
        if saved:
            trainer.save_checkpoint(saved)
        return self.callback.freezing.report()


def make_callback(**changes: Any) -> Any:
    pytest.importorskip("lightning")
    from bench.api.lightning import LightningFreezing

    return LightningFreezing(model="network", **make_settings(**changes))


def test_a_callback_of_lightning_that_resumed_can_train_anew(tmp_path: Path) -> None:
    saved, length = tmp_path / "one.ckpt", {"total_steps": 6 * EPOCHS}
    Fit(make_callback(**length)).run(1, saved)
    callback = make_callback(**length)
    assert Fit(callback).run(EPOCHS, resume=saved).samples == EPOCHS * SAMPLES
    anew = Fit(callback).run(1)
    assert (anew.steps, anew.samples) == (6, SAMPLES)
    assert [layer.frozen_at for layer in anew.layers] == [2, 2, None]


def test_lightning_counts_batches_without_a_loss() -> None:
    report = Fit(make_callback(), skip=True).run(EPOCHS)
    assert (report.steps, report.samples) == (6 * EPOCHS, EPOCHS * SAMPLES)


def test_a_wrong_name_of_the_network_is_one_line() -> None:
    callback = make_callback()
    callback._model = "net"
    with pytest.raises(UserError, match="no submodule 'net'"):
        Fit(callback).run(1)
