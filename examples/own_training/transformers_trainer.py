"""Freeze layers with LISA in the Trainer of transformers.

python examples/own_training/transformers_trainer.py
"""

import tempfile

import torch
from sklearn.datasets import load_digits
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from bench.api.transformers import TrainerFreezing

BATCH = 64

# A small BERT reads the pixels of a digit as words, so that nothing must be downloaded.
digits = load_digits()
words = torch.tensor(digits.data, dtype=torch.long)  # (1797, 64), values 0 to 16
data = [
    {"input_ids": ids, "labels": label}
    for ids, label in zip(words, torch.tensor(digits.target), strict=True)
]
torch.manual_seed(0)
model = BertForSequenceClassification(
    BertConfig(
        vocab_size=17,
        hidden_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=64,
        num_labels=10,
    )
)
callback = TrainerFreezing(
    example={"input_ids": words[:BATCH]},
    strategy="lisa",
    options={"n": 1, "K": 10},
)
with tempfile.TemporaryDirectory() as folder:
    arguments = TrainingArguments(
        folder,
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        learning_rate=1e-3,
        save_strategy="no",
        report_to=[],
    )
    Trainer(model, arguments, train_dataset=data, callbacks=[callback]).train()

print(callback.freezing.report())
