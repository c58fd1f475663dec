"""Batches of texts, padded to one length per batch; the seed alone determines the batches.

The length is that of the longest text, rounded up to a multiple of PAD_TO tokens. As in
`bench.batches.images`, the strategy has no influence, and each step has its own random stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from bench.batches.interface import AnyBatches
from bench.batches.order import (
    EVALUATION_BATCH,
    IGNORED_LABEL,
    count_usable_samples,
    draw_epoch_order,
    select_evaluated,
)
from bench.data.catalogue import load_texts
from bench.data.interface.metrics import Metric
from bench.data.interface.splits import Part
from bench.data.texts.dataset import MASKED
from bench.data.texts.grammar.words import SPECIAL
from bench.distributed.process_group import ALONE, ProcessGroup
from bench.layers.discovery import Inputs
from bench.machine.to_device import move_to_device
from bench.models.texts.catalogue import find_text_model
from bench.models.texts.hub_model import HubModel
from bench.models.texts.tokenizer import Tokens, load_tokenizer, tokenize
from bench.seeds import make_generator
from bench.spec import Spec

PAD_TO = 8  # lengths are multiples of 8: few distinct shapes, all fast on tensor cores
# The model predicts 20 % of the words. Of these, 50 % are replaced by [MASK], 25 % by a random
# word, and 25 % stay. BERT uses 15 %, with 80, 10 and 10 %. Random words teach the model to compare
# each word with the rest of the text. With only 10 %, a pretraining of minutes learns it too late.
ASKED_SHARE, HIDDEN, REPLACED = 0.2, 0.5, 0.25


class TextBatches:
    """Batches of shuffled, padded token sequences; the tokens are on the device.

    Inputs are token ids (B, L) int64, the mask of real tokens (B, 1, 1, L) bool, and segments (B,
    L) int64. A segment is the `token_type_ids` value of a token. The mask already has the shape
    that attention uses. With another shape, transformers would inspect the values of the mask,
    which synchronises the device.
    samples: number of training samples per epoch.
    steps_per_epoch: number of training steps per epoch.
    """

    eval_sources: Tensor | None = None

    def __init__(
        self,
        train: Tokens,
        evaluation: Tokens,
        metric: Metric,
        spec: Spec,
        device: torch.device,
        group: ProcessGroup = ALONE,
    ) -> None:
        self._group = group
        self._train, self._evaluation = train.to(device), evaluation.to(device)
        self._spec, self._device, self.metric = spec, device, metric
        model = find_text_model(spec.model)
        self._positions = model.positions if model else spec.length
        self._order = lru_cache(maxsize=2)(self._draw_order)
        self.samples = count_usable_samples(len(train.labels), spec.batch_size, group.size)
        self.steps_per_epoch = -(-self.samples // spec.batch_size)

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """Return the inputs and the labels (B,) int64 of a step, counted from 0.

        In a run of several processes, these are the inputs and labels of this process. The inputs
        are padded to the length of the whole batch.
        """
        chosen = self._chosen(step)
        length = self._compute_length(self._train, chosen)
        mine = chosen[self._group.share(len(chosen))]
        labels = self._train.labels[move_to_device(self._device, mine)]
        return self._prepare_inputs(self._train, mine, length), labels

    def evaluation(self, samples: int = 0) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield this process's batches of the evaluation split, in order.

        samples: yield only this number of samples, balanced over the classes; 0 = all.
        """
        rank, size = self._group.rank, self._group.size
        every = select_evaluated(self._evaluation.labels, samples).split(EVALUATION_BATCH)
        for rows in every[rank::size]:
            labels = self._evaluation.labels[move_to_device(self._device, rows)]
            yield self._prepare_inputs(self._evaluation, rows), labels

    def probe(self, samples: int) -> Inputs:
        """Return the inputs of fixed training samples, the same for all seeds and strategies."""
        return self._prepare_inputs(self._train, self._draw_probe(samples))

    def labelled_probe(self, samples: int) -> tuple[Inputs, Tensor]:
        """Return the inputs of `probe` and their labels (N,) int64."""
        rows = self._draw_probe(samples)
        labels = self._train.labels[move_to_device(self._device, rows)]
        return self._prepare_inputs(self._train, rows), labels

    def count_samples_by_size(self) -> dict[int, int]:
        """Return the number of samples of full training, by padded text length in tokens."""
        return self._counts[0]

    def count_batches(self) -> dict[int, int]:
        """Return the number of batches of full training, by padded text length in tokens."""
        return self._counts[1]

    @cached_property
    def _counts(self) -> tuple[dict[int, int], dict[int, int]]:
        samples: Counter[int] = Counter()
        batches: Counter[int] = Counter()
        for step in range(self._spec.epochs * self.steps_per_epoch):
            chosen = self._chosen(step)
            length = self._compute_length(self._train, chosen)
            samples[length] += len(chosen)
            batches[length] += 1
        return dict(samples), dict(batches)

    def _draw_probe(self, samples: int) -> Tensor:
        count = len(self._train.labels)
        drawn = torch.randperm(count, generator=make_generator("probe", self._spec.data_name))
        return drawn[:samples]

    def _chosen(self, step: int) -> Tensor:
        epoch, within = divmod(step, self.steps_per_epoch)
        size = self._spec.batch_size
        return self._order(epoch)[within * size : min((within + 1) * size, self.samples)]

    def _draw_order(self, epoch: int) -> Tensor:
        return draw_epoch_order(self._spec.seed, epoch, len(self._train.labels))

    def _compute_length(self, tokens: Tokens, rows: Tensor) -> int:
        return min(-(-int(tokens.lengths[rows].max()) // PAD_TO) * PAD_TO, self._positions)

    def _prepare_inputs(self, tokens: Tokens, rows: Tensor, length: int = 0) -> Inputs:
        """Return the inputs of some texts, padded to `length` tokens.

        length: 0 = the length of the longest of these texts, rounded up to a multiple of PAD_TO.
        """
        length = length or self._compute_length(tokens, rows)
        here = move_to_device(self._device, rows)
        places = torch.arange(length, device=self._device)
        real = places < move_to_device(self._device, tokens.lengths[rows])[:, None]
        ids = _pad_rows(tokens.ids[here], length, tokens.padding)
        return ids, real[:, None, None], _pad_rows(tokens.segments[here], length, 0)


class MaskedBatches(TextBatches):
    """Batches for BERT pretraining: the model predicts the masked words of each text.

    Labels are word ids (B, L) int64, with IGNORED_LABEL for words that are not predicted.
    """

    def __init__(
        self, train: Tokens, evaluation: Tokens, spec: Spec, device: torch.device,
        group: ProcessGroup = ALONE, *, mask: int, special: int, words: int,
    ) -> None:  # fmt: skip
        """Store the tokens and the facts about the vocabulary.

        mask: id of [MASK].
        special: smallest id of a real word.
        words: size of the vocabulary.
        """
        super().__init__(train, evaluation, "accuracy", spec, device, group)
        self._mask, self._special, self._words = mask, special, words

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """Return the inputs and labels of a step. Each step masks different words."""
        inputs, _ = super().batch(step)
        count = len(self._chosen(step))
        generator = make_generator(self._spec.seed, "mask", step)
        return self._mask_words(inputs, generator, self._group.share(count), count)

    def evaluation(self, samples: int = 0) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield this process's batches of the evaluation split, in order.

        samples: as in `TextBatches.evaluation`. All runs with the same `samples` mask the same
        words.
        """
        rank, size = self._group.rank, self._group.size
        for number, (inputs, _) in enumerate(super().evaluation(samples)):
            generator = make_generator("mask", self._spec.data_name, rank + number * size)
            yield self._mask_words(inputs, generator)

    def labelled_probe(self, samples: int) -> tuple[Inputs, Tensor]:
        """Return fixed training samples with masked words, and the labels of these words.

        The same words are masked at every call.
        """
        return self._mask_words(
            self.probe(samples), make_generator("mask", self._spec.data_name, "probe")
        )

    def _mask_words(
        self,
        inputs: Inputs,
        generator: torch.Generator,
        mine: slice = slice(None),
        count: int = 0,
    ) -> tuple[Inputs, Tensor]:
        """Mask words of the texts of this process; return the inputs and the labels.

        mine: position of these texts in the whole batch.
        count: number of texts in the whole batch; 0 = as many as in `inputs`.
        Random numbers are drawn for the whole batch, so the number of processes does not change
        which words are masked.
        """
        ids, real, segments = inputs
        shape = (count or len(ids), ids.shape[1])
        drawn = torch.rand((2, *shape), generator=generator)[:, mine]
        chance, kind = move_to_device(self._device, drawn)
        words = torch.randint(self._special, self._words, shape, generator=generator)[mine]
        words = move_to_device(self._device, words)
        chance = chance.masked_fill(ids < self._special, 2.0)
        # Predict at least one word per text, so that every batch has a loss.
        asked = (chance < ASKED_SHARE) | (chance == chance.amin(1, keepdim=True))
        shown = torch.where(kind < HIDDEN, self._mask, ids)
        shown = torch.where((kind >= HIDDEN) & (kind < HIDDEN + REPLACED), words, shown)
        labels = ids.masked_fill(~asked, IGNORED_LABEL)
        return (torch.where(asked, shown, ids), real, segments), labels


class NextWordBatches(TextBatches):
    """Batches for a language model, which predicts each next word of a text.

    Labels are the ids of the next words, (B, L) int64, with IGNORED_LABEL after the last word.
    """

    def batch(self, step: int) -> tuple[Inputs, Tensor]:
        """Return the inputs and labels of a step."""
        return _ask_next_words(super().batch(step)[0])

    def evaluation(self, samples: int = 0) -> Iterator[tuple[Inputs, Tensor]]:
        """Yield this process's batches of the evaluation split, in order.

        samples: number of texts to yield, over all processes; 0 = all.
        """
        for inputs, _ in super().evaluation(samples):
            yield _ask_next_words(inputs)

    def labelled_probe(self, samples: int) -> tuple[Inputs, Tensor]:
        """Return fixed training samples, and as their labels the next word at each position."""
        return _ask_next_words(self.probe(samples))


def _ask_next_words(inputs: Inputs) -> tuple[Inputs, Tensor]:
    """Return the inputs, and as the label of each word the word after it."""
    ids, real, _ = inputs
    following = ids.roll(-1, dims=1)
    asked = real[:, 0, 0].roll(-1, dims=1)
    asked[:, -1] = False
    return inputs, following.masked_fill(~asked, IGNORED_LABEL)


def _pad_rows(rows: Tensor, length: int, value: int) -> Tensor:
    """Return rows of any length as int64 (B, length), truncated or padded with a value."""
    rows = rows[:, :length].long()
    return torch.nn.functional.pad(rows, (0, length - rows.shape[1]), value=value)


def make_text_batches(
    spec: Spec, part: Part, device: torch.device, group: ProcessGroup = ALONE
) -> tuple[AnyBatches, int]:
    """Return the text batches of a run and its number of classes.

    If words are predicted, the number of classes is the size of the vocabulary.
    """
    data = load_texts(spec.data, part, spec.paths.get("data", ""), spec.train_limit)
    vocabulary, model = spec.paths.get("vocab", ""), find_text_model(spec.model)
    assert model is not None, f"{spec.model} is no text model"
    tokenizer = load_tokenizer(model, Path(vocabulary) if vocabulary else None)
    longest = min(spec.length, model.positions)
    train, evaluation = (
        tokenize(tokenizer, texts, longest, data.name) for texts in (data.train, data.evaluation)
    )
    if isinstance(model, HubModel):
        model.check_tokens(int(max(train.ids.max(), evaluation.ids.max())))
    if model.causal:
        return NextWordBatches(train, evaluation, "loss", spec, device, group), len(tokenizer)
    if data.classes != MASKED:
        return TextBatches(train, evaluation, data.metric, spec, device, group), data.classes
    words = len(tokenizer)
    mask, special = int(tokenizer.mask_token_id), len(SPECIAL)
    masked = MaskedBatches(
        train, evaluation, spec, device, group, mask=mask, special=special, words=words
    )  # fmt: skip
    return masked, words
