"""Check that a model takes the data of a run."""

from __future__ import annotations

from bench.data.catalogue import find_data_set, list_data_sets
from bench.data.texts.dataset import TextSet
from bench.errors import UserError
from bench.models.texts.catalogue import find_text_model, list_text_models


def check_pair(model: str, data: str) -> None:
    """Raise UserError where a model and a data set do not belong together."""
    text_model, data_set = find_text_model(model), find_data_set(data)
    if isinstance(data_set, TextSet) != (text_model is not None):
        one, other = ("images", "texts") if text_model else ("texts", "images")
        sets = [each.name for each in list_data_sets() if isinstance(each, TextSet)]
        fit = (
            f"models of texts are {', '.join(list_text_models())}; data sets are {', '.join(sets)}"
        )
        raise UserError(f"{data} holds {one} and {model} takes {other}; {fit}")
    if text_model and isinstance(data_set, TextSet) and text_model.masked != data_set.masked:
        raise UserError(
            f"{model} cannot be trained on {data}: masked words are predicted by a model whose "
            "name ends in _mlm, on grammar; other tasks take any other BERT"
        )
