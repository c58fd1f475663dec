"""Check whether the input files of a run have changed since the id of the run was computed."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from bench.files import hash_file
from bench.spec import Spec


def check_unchanged(spec: Spec) -> None:
    """Raise UserError if an input file has changed since the id of the run was computed.

    Data sets are not checked, because hashing a large folder can take longer than the run.
    """
    if spec.model.startswith("hf:"):  # the job process must not import torch for other models
        _check_text_model(spec)
    for what, content in spec.contents.items():
        if what == "data" or what not in spec.paths:
            continue
        path = Path(spec.paths[what])
        if hash_file(path) != content:
            raise UserError(
                f"{spec.label}: the {what} file {path} has changed since the run was planned; run "
                "the command again"
            )


def _check_text_model(spec: Spec) -> None:
    """Raise UserError if the files of an `hf:` model have changed."""
    from bench.models.texts.catalogue import find_text_model
    from bench.models.texts.hub_model import HubModel

    model = find_text_model(spec.model)
    if isinstance(model, HubModel):
        now = model.identify_files()
        if spec.weights == "pretrained":
            now["weights"] = model.identify_published()
        if changed := [what for what, content in now.items() if spec.contents[what] != content]:
            raise UserError(
                f"{spec.label}: the {changed[0]} files in {model.folder} have changed since the "
                "run was planned; run the command again"
            )
