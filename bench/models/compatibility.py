"""Check that a model takes the data of a run."""

from __future__ import annotations

from bench.data.texts.catalogue import TEXTS, is_text
from bench.errors import UserError
from bench.models.bert import BERTS


def check_pair(model: str, data: str) -> None:
    """Raise UserError where a model and a data set do not belong together."""
    masked = model in BERTS and BERTS[model].masked
    if is_text(data) != (model in BERTS):
        one, other = ("texts", "images") if is_text(data) else ("images", "texts")
        fit = f"models of texts are {', '.join(BERTS)}; data sets are {', '.join(TEXTS)}"
        raise UserError(f"{data} holds {one} and {model} takes {other}; {fit}")
    if is_text(data) and masked != (data == "grammar"):
        raise UserError(
            f"{model} cannot be trained on {data}: masked words are predicted by a model whose "
            "name ends in _mlm, on grammar; other tasks take any other BERT"
        )
