"""The batches of a run on texts: padded to what the longest needs, drawn from the seed alone.

It has the properties of bench.batches.images: nothing about the strategy enters, and the random
numbers of a step come from a stream of that step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from bench.batches.interface import AnyBatches
from bench.batches.order import EVALUATION_BATCH, NOT_ASKED, count_usable_samples, draw_epoch_order
from bench.data.catalogue import load_texts
from bench.data.interface.metrics import Metric
from bench.data.interface.splits import Part
from bench.data.texts.dataset import MASKED
from bench.data.texts.grammar.words import SPECIAL
from bench.layers.discovery import Inputs
from bench.machine.to_device import move_to_device
from bench.models.texts.catalogue import list_text_models
from bench.models.texts.tokenizer import Tokens, load_tokenizer, tokenize
from bench.seeds import make_generator
from bench.spec import Spec

PAD_TO = 8  # lengths are multiples of this: few shapes, and none that tensor cores dislike
# Of the words a fifth is asked for; of these half become [MASK], a quarter another word, a quarter
# stay. BERT has 15 %, and 80, 10 and 10 %. A wrong word teaches to hold each word against the
# rest of the text, which a pretraining of minutes learns from 10 % too late.
ASKED_SHARE, HIDDEN, REPLACED = 0.2, 0.5, 0.25


class TextBatches:
    """Device-resident tokens, shuffled and padded in batches.

    Inputs are ids (B, L) int64, the mask of real tokens (B, 1, 1, L) bool, and segments (B, L)
    int64. The mask comes in the form that attention takes, so that no model looks into it to
    see whether it is needed, which would wait for the device.
    """

    def __init__(
        self, train: Tokens, evaluation: Tokens, metric: Metric, spec: Spec, device: torch.device
    ) -> None:
        self._train, self._evaluation = train.to(device), evaluation.to(device)
        self._spec, self._device, self.metric = spec, device, metric
        self._order = lru_cache(maxsize=2)(self._draw_order)
        self.samples = count_usable_samples(len(train.labels), spec.batch_size)
        self.steps_per_epoch = -(-self.samples // spec.batch_size)

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """The inputs and labels (B,) int64 of a step counted from 0."""
        chosen = self._chosen(step)
        return self._prepare_inputs(self._train, chosen), self._train.labels[
            move_to_device(self._device, chosen)
        ]

    def evaluation(self) -> Iterator[tuple[Inputs, Tensor]]:
        """The evaluation split in order."""
        for rows in torch.arange(len(self._evaluation.labels)).split(EVALUATION_BATCH):
            labels = self._evaluation.labels[move_to_device(self._device, rows)]
            yield self._prepare_inputs(self._evaluation, rows), labels

    def probe(self, samples: int) -> Inputs:
        """Fixed training samples, the same for every seed and strategy."""
        count = len(self._train.labels)
        drawn = torch.randperm(count, generator=make_generator("probe", self._spec.data_name))
        return self._prepare_inputs(self._train, drawn[:samples])

    def sizes(self) -> dict[int, int]:
        """How many samples of full training are padded to each length."""
        sizes: Counter[int] = Counter()
        for step in range(self._spec.epochs * self.steps_per_epoch):
            chosen = self._chosen(step)
            sizes[self._compute_length(self._train, chosen)] += len(chosen)
        return dict(sizes)

    def _chosen(self, step: int) -> Tensor:
        epoch, within = divmod(step, self.steps_per_epoch)
        size = self._spec.batch_size
        return self._order(epoch)[within * size : min((within + 1) * size, self.samples)]

    def _draw_order(self, epoch: int) -> Tensor:
        return draw_epoch_order(self._spec.seed, epoch, len(self._train.labels))

    def _compute_length(self, tokens: Tokens, rows: Tensor) -> int:
        return -(-int(tokens.lengths[rows].max()) // PAD_TO) * PAD_TO

    def _prepare_inputs(self, tokens: Tokens, rows: Tensor) -> Inputs:
        length = self._compute_length(tokens, rows)
        here = move_to_device(self._device, rows)
        places = torch.arange(length, device=self._device)
        real = places < move_to_device(self._device, tokens.lengths[rows])[:, None]
        ids, segments = (_pad_rows(part[here], length) for part in (tokens.ids, tokens.segments))
        return ids, real[:, None, None], segments


class MaskedBatches(TextBatches):
    """The same with words masked, which are to be told: BERT's pretraining. Labels (B, L)."""

    def __init__(
        self, train: Tokens, evaluation: Tokens, spec: Spec, device: torch.device,
        *, mask: int, special: int, words: int,
    ) -> None:  # fmt: skip
        """mask: id of [MASK]; special: ids below it are no words; words: size of the vocabulary."""
        super().__init__(train, evaluation, "accuracy", spec, device)
        self._mask, self._special, self._words = mask, special, words

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """The inputs and labels of a step; other words are masked at each."""
        inputs, _ = super().batch(step)
        return self._mask_words(inputs, make_generator(self._spec.seed, "mask", step))

    def evaluation(self) -> Iterator[tuple[Inputs, Tensor]]:
        """The evaluation split in order, the same words masked in every run."""
        for number, (inputs, _) in enumerate(super().evaluation()):
            yield self._mask_words(inputs, make_generator("mask", self._spec.data_name, number))

    def _mask_words(self, inputs: Inputs, generator: torch.Generator) -> tuple[Inputs, Tensor]:
        ids, real, segments = inputs
        chance, kind = move_to_device(
            self._device, torch.rand((2, *ids.shape), generator=generator)
        )
        words = torch.randint(self._special, self._words, ids.shape, generator=generator)
        words = move_to_device(self._device, words)
        chance = chance.masked_fill(ids < self._special, 2.0)
        # At least one a text, or a batch could ask for nothing and have no loss.
        asked = (chance < ASKED_SHARE) | (chance == chance.amin(1, keepdim=True))
        shown = torch.where(kind < HIDDEN, self._mask, ids)
        shown = torch.where((kind >= HIDDEN) & (kind < HIDDEN + REPLACED), words, shown)
        labels = ids.masked_fill(~asked, NOT_ASKED)
        return (torch.where(asked, shown, ids), real, segments), labels


def _pad_rows(rows: Tensor, length: int) -> Tensor:
    """Rows (B, at least or less than `length`) as int64 (B, length); padding is 0 in both uses."""
    rows = rows[:, :length].long()
    return torch.nn.functional.pad(rows, (0, length - rows.shape[1]))


def make_text_batches(spec: Spec, part: Part, device: torch.device) -> tuple[AnyBatches, int]:
    """A run's batches of texts and its number of classes."""
    data = load_texts(spec.data, part, spec.paths.get("data", ""), spec.train_limit)
    vocabulary, model = spec.paths.get("vocab", ""), list_text_models()[spec.model]
    tokenizer = load_tokenizer(model, Path(vocabulary) if vocabulary else None)
    longest = min(spec.length, model.positions)
    train, evaluation = (
        tokenize(tokenizer, texts, longest, data.name) for texts in (data.train, data.evaluation)
    )
    if data.classes != MASKED:
        return TextBatches(train, evaluation, data.metric, spec, device), data.classes
    words = len(tokenizer)
    mask, special = int(tokenizer.mask_token_id), len(SPECIAL)
    masked = MaskedBatches(
        train, evaluation, spec, device, mask=mask, special=special, words=words
    )  # fmt: skip
    return masked, words
