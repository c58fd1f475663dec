"""Classifiers of a model with several: distilled transformers, networks with two branches."""

from __future__ import annotations

from torch import nn


def find_classifiers(model: nn.Module) -> tuple[str, ...]:
    """Return the names of all classifiers of a timm model that has several, else ().

    The names are those in the model's `pretrained_cfg`, from which timm drops them if the number
    of classes differs.
    """
    config = getattr(model, "pretrained_cfg", None) or {}
    names = config.get("classifier")
    return tuple(names) if isinstance(names, (tuple, list)) and len(names) > 1 else ()
