"""grammar: sentences for pretraining, and the tasks made of such sentences; all texts are fixed.

Test, validation and training texts are drawn in this order, without repetition. The source task
contains no text of the other tasks.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.data.interface.descriptor import Facts
from bench.data.interface.metrics import Metric
from bench.data.interface.splits import Part
from bench.data.texts.dataset import MASKED, TextData, TextSample, TextSet
from bench.data.texts.grammar import paraphrase
from bench.data.texts.grammar.sentences import Sentence, draw_sentence, violate


def _draw_source(draw: random.Random, number: int) -> TextSample:
    """Draw one sentence, or two with the same meaning."""
    if number % 3 == 0:
        return TextSample(_join_tokens(draw_sentence(draw)))
    said = paraphrase.draw_scene(draw)
    return TextSample(paraphrase.say(draw, said), paraphrase.say(draw, said))


def _draw_acceptability(draw: random.Random, number: int) -> TextSample:
    """Draw an acceptable sentence (label 1) or one with a fault (label 0)."""
    whole = draw_sentence(draw)
    label = number % 2
    return TextSample(_join_tokens(whole if label else violate(draw, whole)), label=label)


def _draw_paraphrase(draw: random.Random, number: int) -> TextSample:
    """Draw two sentences with the same meaning (label 1) or with some facts changed (label 0)."""
    said, label = paraphrase.draw_scene(draw), number % 2
    other = said if label else paraphrase.make_near_miss(draw, said)
    return TextSample(paraphrase.say(draw, said), paraphrase.say(draw, other), label)


def _join_tokens(tokens: Sentence) -> str:
    return " ".join([*(t.form for t in tokens), "."])


@dataclass(frozen=True)
class GrammarRecipe:
    """Recipe of a task: function that draws its texts, numbers of texts, and metric."""

    draw: Callable[[random.Random, int], TextSample]
    classes: int
    metric: Metric
    train: int
    evaluation: int
    length: int  # of a typical batch, in tokens


RECIPES = {
    "": GrammarRecipe(_draw_source, MASKED, "accuracy", train=12_000, evaluation=500, length=32),
    "acceptability": GrammarRecipe(
        _draw_acceptability, 2, "matthews", train=1920, evaluation=2000, length=24
    ),
    "paraphrase": GrammarRecipe(
        _draw_paraphrase, 2, "accuracy", train=3200, evaluation=2000, length=32
    ),
}


class GrammarSet(TextSet):
    """Task of the grammar; the plain name is the source task."""

    @property
    def variant(self) -> str:
        """Key of the task in RECIPES."""
        return self.name.partition(":")[2]

    @property
    def masked(self) -> bool:
        """Whether masked words are predicted instead of a class."""
        return RECIPES[self.variant].classes == MASKED

    @property
    def trains_on_validation(self) -> bool:
        """False: the validation part is drawn on its own."""
        return False

    @property
    def summary(self) -> str:
        """Summary line for `freezebench list`."""
        facts = self.describe(None)
        task = f"{facts.classes} classes" if facts.classes else "masked words"
        return f"built in; {task}, {facts.train_samples:,} training texts"

    def describe(self, root: Path | None) -> Facts:
        """Return the number of classes and of training texts, and the typical length."""
        recipe = RECIPES[self.variant]
        return Facts(recipe.classes, recipe.train, recipe.length)

    def load(self, evaluate_on: Part, root: Path | None) -> TextData:
        """Draw the training part and the evaluation part."""
        recipe, parts = RECIPES[self.variant], _draw_parts(self.variant)
        train, evaluation = parts["train"], parts[evaluate_on]
        return TextData(self.name, recipe.classes, recipe.metric, train, evaluation)


DATA_SETS = tuple(GrammarSet("grammar" + (f":{variant}" if variant else "")) for variant in RECIPES)


@cache
def _draw_parts(variant: str) -> dict[str, list[TextSample]]:
    recipe = RECIPES[variant]
    sizes = {"test": recipe.evaluation, "validation": recipe.evaluation, "train": recipe.train}
    taken = _collect_task_texts() if not variant else set[tuple[str, str]]()
    parts: dict[str, list[TextSample]] = {}
    for part, size in sizes.items():
        draw = random.Random(f"{variant} {part}")
        parts[part] = []
        while len(parts[part]) < size:
            text = recipe.draw(draw, len(parts[part]))
            words = (text.first, text.second)
            if words not in taken:
                taken.add(words)
                parts[part].append(text)
        draw.shuffle(parts[part])
    return parts


def _collect_task_texts() -> set[tuple[str, str]]:
    """Return the texts of all target tasks, which the source task must not contain."""
    tasks = [variant for variant in RECIPES if variant]
    texts = [text for variant in tasks for part in _draw_parts(variant).values() for text in part]
    return {(text.first, text.second) for text in texts}
