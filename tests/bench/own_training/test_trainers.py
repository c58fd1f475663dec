"""Tests of the callbacks for trainers: each batch counts once, and each training begins anew."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from bench.api import Freezing
from bench.errors import UserError
from tests.support.tiny_loop import Scripted, make_batch
from tests.support.tiny_view import build_tiny_net

SAMPLES = 22  # batches of 4: five full ones and one of 2 samples
EPOCHS = 2


class Images(Dataset[dict[str, Any]]):
    """Data set of SAMPLES random images with labels."""

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


def run_trainer(
    place: Path, *, resume: Path | None = None, accumulate: int = 1, script: str = "2+01"
) -> Freezing:
    """Train with the Trainer of transformers, which saves a checkpoint after each epoch.

    resume: folder of the checkpoint to continue from.
    """
    from transformers import Trainer, TrainingArguments

    from bench.api.transformers import TrainerFreezing

    class Own(Trainer):  # type: ignore[misc]  # untyped in transformers
        def compute_loss(self, model: nn.Module, inputs: dict[str, Any], **_: Any) -> Any:
            return F.cross_entropy(model(inputs["images"]), inputs["labels"])

    callback = TrainerFreezing(**make_settings(strategy=Scripted(script=script)))
    arguments = TrainingArguments(
        str(place), per_device_train_batch_size=4, num_train_epochs=EPOCHS, use_cpu=True,
        gradient_accumulation_steps=accumulate, report_to=[], disable_tqdm=True,
        save_strategy="epoch", remove_unused_columns=False,
    )  # fmt: skip
    trainer = Own(build_tiny_net(), arguments, train_dataset=Images(), callbacks=[callback])
    trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    return callback.freezing


def test_the_trainer_resumes_only_with_the_state_of_its_checkpoint(tmp_path: Path) -> None:
    """Resume with another output_dir, which may hold the same step of another training."""
    from transformers import TrainerState

    from bench.api.transformers import _load_state

    one, empty, other = (tmp_path / name for name in ("one", "empty", "other"))
    run_trainer(one)
    assert run_trainer(empty, resume=one / "checkpoint-6").frozen == {0, 1}
    state = TrainerState.load_from_json(str(one / "checkpoint-6" / "trainer_state.json"))
    (other / "checkpoint-6").mkdir(parents=True)
    torch.save({"token": "another"}, other / "checkpoint-6" / "freezing.pt")
    assert _load_state(SimpleNamespace(output_dir=str(other)), state)["frozen"] == [0, 1]
    one.rename(tmp_path / "moved")
    for place, reason in ((tmp_path / "none", "does not exist"), (other, "another training")):
        expected = rf"{place}/checkpoint-6/freezing\.pt .*{reason}; .* copy its freezing\.pt"
        with pytest.raises(UserError, match=expected):
            _load_state(SimpleNamespace(output_dir=str(place)), state)


def test_a_second_training_needs_layers_that_train(tmp_path: Path) -> None:
    first = run_trainer(tmp_path)
    model, optimizer = first._subject.net, first._optimizer

    def freeze_again() -> Freezing:
        return Freezing(model, optimizer, total_steps=9, steps_per_epoch=3, **make_settings())

    with pytest.raises(UserError, match=r"layer 0 .* callback\.freezing\.release\(\)"):
        freeze_again()
    first.release()
    assert not freeze_again().frozen


def test_the_trainer_of_transformers_counts_every_sample(tmp_path: Path) -> None:
    """Accumulate four batches per step.

    The second step of an epoch has only two batches, a full one and one of 2 samples.
    """
    report = run_trainer(tmp_path, accumulate=4).report()
    assert report.steps == report.total_steps == EPOCHS * 2
    assert report.samples == EPOCHS * SAMPLES


class Fit:
    """Training of a small LightningModule.

    skip: whether every second batch has no loss. manual: number of optimizer steps per batch that
    the module takes itself; 0: the Trainer takes one.
    """

    def __init__(self, callback: Any, skip: bool = False, manual: int = 0) -> None:
        from lightning.pytorch import LightningModule

        class Module(LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.network = build_tiny_net()
                self.automatic_optimization = not manual

            def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor | None:
                if skip and number % 2:
                    return None
                for _ in range(manual):
                    self.optimizers().zero_grad()
                    self.manual_backward(self.compute_loss(batch))
                    self.optimizers().step()
                return self.compute_loss(batch)

            def compute_loss(self, batch: dict[str, Tensor]) -> Tensor:
                return F.cross_entropy(self.network(batch["images"]), batch["labels"])

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

        self.module, self.callback, self.trainer = Module(), callback, None

    def make_loader(self) -> DataLoader[dict[str, Any]]:
        return DataLoader(Images(), batch_size=4, collate_fn=collate)

    def run(self, epochs: int, saved: Path | None = None, resume: Path | None = None) -> Any:
        """Train, save a checkpoint if a path is given, and return the report."""
        from lightning.pytorch import Trainer

        callbacks = [self.callback] if self.callback else []
        self.trainer = trainer = Trainer(
            max_epochs=epochs, callbacks=callbacks, logger=False, accelerator="cpu",
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        trainer.fit(self.module, self.make_loader(), ckpt_path=resume)
        if saved:
            trainer.save_checkpoint(saved)
        return self.callback.freezing.report() if self.callback else None


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


def test_lightning_continues_only_with_the_state_of_freezing(tmp_path: Path) -> None:
    """Refuse a checkpoint made without the callback, and a second fit() of one Trainer.

    Both have no state of Freezing.
    """
    saved = tmp_path / "plain.ckpt"
    Fit(None).run(1, saved)
    with pytest.raises(UserError, match=r"continues after step 6, .*make a new Trainer"):
        Fit(make_callback()).run(EPOCHS, resume=saved)
    fit = Fit(make_callback())
    fit.run(1)
    fit.trainer.fit_loop.max_epochs = EPOCHS
    with pytest.raises(UserError, match=r"continues after step 6"):
        fit.trainer.fit(fit.module, fit.make_loader())


def test_lightning_starts_a_new_training_without_a_state_that_a_test_loaded(tmp_path: Path) -> None:
    saved, callback = tmp_path / "one.ckpt", make_callback(total_steps=6 * EPOCHS)
    Fit(callback).run(1, saved)
    callback.load_state_dict(torch.load(saved, weights_only=False)["callbacks"][callback.state_key])
    assert Fit(callback).run(1).steps == 6


def test_several_optimizer_steps_in_one_batch_are_refused() -> None:
    assert Fit(make_callback(), manual=1).run(1).steps == 6
    with pytest.raises(UserError, match="took 2 optimizer steps in one batch"):
        Fit(make_callback(), manual=2).run(1)


def test_a_wrong_name_of_the_network_is_one_line() -> None:
    callback = make_callback()
    callback._model = "net"
    with pytest.raises(UserError, match="no submodule 'net'"):
        Fit(callback).run(1)
