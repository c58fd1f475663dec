"""Freeze layers with AutoFreeze in Lightning: python examples/own_training/lightning_trainer.py."""

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from bench.api.lightning import LightningFreezing


class Digits(LightningModule):
    """Classifier of digits with three layers."""

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
        )

    def training_step(self, batch, _):
        """Return the loss of a batch."""
        images, labels = batch
        return F.cross_entropy(self.network(images), labels)

    def configure_optimizers(self):
        """Return one optimizer for all parameters."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
seed_everything(0)
loader = DataLoader(TensorDataset(images, torch.tensor(digits.target)), 64, shuffle=True)
callback = LightningFreezing(example=images[:64], model="network", strategy="autofreeze")
trainer = Trainer(
    max_epochs=6,
    callbacks=[callback],
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
)
trainer.fit(Digits(), loader)

print(callback.freezing.report())
