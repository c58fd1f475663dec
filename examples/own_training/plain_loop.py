"""Freeze layers with SmartFRZ in a loop: python examples/own_training/plain_loop.py."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from bench.api import Freezing

EPOCHS, BATCH = 6, 64

digits = load_digits()
images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1  # (1797, 1, 8, 8)
labels = torch.tensor(digits.target)

torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.BatchNorm2d(16),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1, stride=2),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.Conv2d(32, 32, 3, padding=1),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.Flatten(),
    nn.Linear(512, 10),
)
steps_per_epoch = -(-len(images) // BATCH)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * steps_per_epoch)
freezing = Freezing(
    model,
    optimizer,
    strategy="smartfrz",
    example=images[:BATCH],
    total_steps=EPOCHS * steps_per_epoch,
    steps_per_epoch=steps_per_epoch,
)
for _ in range(EPOCHS):
    model.train()  # BatchNorm of frozen layers stays in eval mode
    for chosen in torch.randperm(len(images)).split(BATCH):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        loss.backward()
        optimizer.step()
        freezing.step(loss, samples=len(chosen))
        scheduler.step()

print(freezing.report())
