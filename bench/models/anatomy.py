"""Layers and FLOPs of named models."""

from __future__ import annotations

from functools import lru_cache

import torch

from bench.costs.flops import FlopModel, count_flops
from bench.layers.discovery import Inputs, Layer, find_layers
from bench.models.catalogue import build as build_model
from bench.models.texts.catalogue import find_text_model


@lru_cache(maxsize=64)
def analyze_model(model: str, classes: int, size: int) -> tuple[tuple[Layer, ...], FlopModel]:
    """Return the layers and FLOPs of a model by name; the weights do not matter.

    size: side of the images in pixels, or length of the texts in tokens.
    """
    sample: Inputs
    if text_model := find_text_model(model):
        net, sample = text_model.sketch(classes, size)
    else:
        net = build_model(model, classes, size, seed=0)
        sample = (torch.zeros(1, 3, size, size),)
    layers = find_layers(net, sample)
    return layers, count_flops(net, layers, sample)
