"""`freezebench flops`: FLOPs of full training, counted without training."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import product
from typing import Any

from bench.cli.arguments import add_data_root_argument, add_profile_argument, collect_files
from bench.errors import UserError
from bench.files import expand_home
from bench.spec import Spec

HELP = "count the FLOPs of full training by the paper's convention and exactly, without training"
EXAMPLE = "freezebench flops --profile paper"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_profile_argument(parser)
    add_data_root_argument(parser)


def main(args: argparse.Namespace) -> int:
    from bench.data.catalogue import describe, holds_texts
    from bench.models.anatomy import analyze_model
    from bench.models.texts.catalogue import find_text_model
    from bench.planning.estimates import count_full_flops
    from bench.planning.run_inputs import check_files_used
    from bench.planning.sweep_files import load_profile
    from reports.document.table import (
        TERA,
        Table,
        Value,
        number_column,
        rounded_column,
        text_column,
    )
    from reports.document.terminal import format_text

    profile, files = load_profile(args.profile), collect_files(args)
    root = str(expand_home(files["data"]).resolve()) if files else ""
    specs: list[Spec] = []
    rows: list[dict[str, Value]] = []
    for model, dataset in product(profile["models"], profile["datasets"]):
        spec = _make_full_spec(profile, model, dataset, root)
        if holds_texts(spec.data) != (find_text_model(spec.model) is not None):
            continue
        specs.append(spec)
        facts = describe(spec.data, root)
        size = min(facts.length, spec.length) or spec.resolution  # texts: length of a typical batch
        layers, flops = analyze_model(
            spec.model, facts.classes, size, checkpointing=spec.checkpointing
        )
        flops, exact = flops.with_batch(spec.batch_size), count_full_flops(spec)
        rows.append(
            {
                "role": model,
                "model": spec.model,
                "data": spec.data,
                "paper": exact * flops.paper().total / flops.exact().total,
                "exact": exact,
                "layers": len(layers),
            }
        )
    check_files_used(files, specs)
    columns = (
        text_column("role", "role"),
        text_column("model", "model"),
        text_column("data", "data"),
        rounded_column("paper's convention", "paper", digits=4, scale=TERA),
        rounded_column("exact", "exact", digits=4, scale=TERA),
        number_column("layers", "layers", digits=0),
    )
    title = f"TFLOPs of full training, profile {profile['name']}"
    print(format_text(Table(title, columns, rows)), end="")
    return 0


def _make_full_spec(profile: Mapping[str, Any], model: str, dataset: str, root: str) -> Spec:
    """Return the spec of full training with random weights for a model role and a data set role.

    The FLOPs do not depend on the weights.
    root: the data root, an absolute path.
    """
    values = {
        **profile["run"],
        **profile["models"][model],
        **profile["datasets"][dataset],
        **profile.get("pairs", {}).get(f"{model}/{dataset}", {}),
        "weights": "",
        "paths": {"data": root} if root else {},
    }
    values.pop("backbone", None)
    try:
        return Spec.from_dict(values)
    except UserError as error:
        raise UserError(f"profile {profile['name']}, {model} on {dataset}: {error}") from None
