"""Classifiers of a model that may have several, such as a distilled transformer."""

from __future__ import annotations

from torch import nn


def find_classifiers(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the classifiers if a model may have several, else ().

    For timm, the names come from the model's `pretrained_cfg`. timm itself drops the weights under
    these names if the number of classes differs. A sequence classifier of transformers may have
    several layers outside of its base model, which classify together. Most pretraining files lack
    these layers.
    """
    if type(model).__name__.endswith("ForSequenceClassification"):
        base = str(getattr(model, "base_model_prefix", ""))
        return tuple(name for name, _ in model.named_children() if name != base)
    config = getattr(model, "pretrained_cfg", None) or {}
    names = config.get("classifier")
    return tuple(names) if isinstance(names, (tuple, list)) and len(names) > 1 else ()
