"""Check that a model fits the data set of a run."""

from __future__ import annotations

from bench.data.catalogue import find_data_set, list_data_sets
from bench.data.texts.dataset import TextSet
from bench.errors import UserError
from bench.models.catalogue import LAPTOP_SIDE, build, is_timm, is_torchvision
from bench.models.laptop import LAPTOP
from bench.models.texts.catalogue import find_text_model, list_text_models


def check_pair(model: str, data: str) -> None:
    """Raise UserError if a model is unknown or cannot be trained on a data set.

    Loads no data, so that a misspelt name is reported before minutes are spent on reading images.
    """
    text_model, data_set = find_text_model(model), find_data_set(data)
    if not text_model and not _is_image_model(model):
        build(model, classes=2, resolution=LAPTOP_SIDE, seed=0)  # raises the error for its name
    if isinstance(data_set, TextSet) != (text_model is not None):
        one, other = ("images", "texts") if text_model else ("texts", "images")
        sets = [each.name for each in list_data_sets() if isinstance(each, TextSet)]
        models = ", ".join((*list_text_models(), "hf:NAME"))
        fit = f"text models: {models}; text data sets: {', '.join(sets)}"
        raise UserError(f"{data} contains {one}, but {model} needs {other}; {fit}")
    if text_model and text_model.causal:
        return  # it predicts the words of any text and needs no classes
    if text_model and isinstance(data_set, TextSet) and text_model.masked != data_set.masked:
        raise UserError(
            f"{model} cannot be trained on {data}; use a model whose name ends in _mlm for the "
            "data set grammar, and a text model without _mlm for all other texts"
        )


def _is_image_model(name: str) -> bool:
    return name in LAPTOP or is_torchvision(name) or is_timm(name)
