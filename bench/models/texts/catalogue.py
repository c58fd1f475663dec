"""Text models by name, found in the modules of bench/models/texts/."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from bench.models import texts
from bench.models.texts.descriptor import TextModel
from bench.models.texts.hub_model import PREFIX, load_hub_model
from bench.models.texts.lora import PREFIX as ADAPTED
from bench.models.texts.lora import wrap_with_adapters
from bench.options import make_unknown_error


@cache
def list_text_models() -> dict[str, TextModel]:
    """Return the descriptors of all text models by name."""
    return {
        model.name: model
        for module in pkgutil.iter_modules(texts.__path__, f"{texts.__name__}.")
        if module.name != __name__
        for model in getattr(importlib.import_module(module.name), "TEXT_MODELS", ())
    }


def find_text_model(name: str) -> TextModel | None:
    """Return the descriptor of a text model, or None if the name is not a text model.

    Raises UserError if the files of an `hf:` model cannot be found or read. Raises UserError if the
    name after `lora:` is not in `list_text_models`.
    """
    if name.startswith(PREFIX):
        return load_hub_model(name)
    if name.startswith(ADAPTED):
        return _find_adapted(name.removeprefix(ADAPTED))
    return list_text_models().get(name)


@cache
def _find_adapted(name: str) -> TextModel:
    """Return a text model with LoRA adapters. Raises UserError for an unknown model."""
    if name not in list_text_models():
        raise make_unknown_error("lora: model", name, list(list_text_models()))
    return wrap_with_adapters(list_text_models()[name])
