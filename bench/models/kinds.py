"""Kind of a model, by its name: convolutional, vision transformer, text classifier, and so on."""

from __future__ import annotations

import re

from bench.models.texts.catalogue import find_text_model

CONVOLUTIONAL = "convolutional network"
VISION_TRANSFORMER = "vision transformer"
TEXT_CLASSIFIER = "text classifier"
LANGUAGE_MODEL = "language model"  # predicts words
KINDS = (CONVOLUTIONAL, VISION_TRANSFORMER, TEXT_CLASSIFIER, LANGUAGE_MODEL)

# Families of vision transformers in torchvision and timm.
TRANSFORMERS = re.compile(r"(^|[:_])(vit|deit3?|swin(v2)?|beit(v2)?|eva(02)?|cait|xcit)(_|$)")


def find_kind(model: str) -> str:
    """Return the kind of a model. An unknown image model counts as a convolutional network."""
    if text_model := find_text_model(model):
        return LANGUAGE_MODEL if text_model.masked or text_model.causal else TEXT_CLASSIFIER
    return VISION_TRANSFORMER if TRANSFORMERS.search(model) else CONVOLUTIONAL
