"""`freezebench flops`: FLOPs of full training, counted without training."""

from __future__ import annotations

import argparse

from bench.cli.arguments import add_file_arguments, add_profile_argument, collect_files

HELP = "count the FLOPs of full training by the paper's convention and exactly, without training"
EXAMPLE = "freezebench flops --profile paper"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_profile_argument(parser)
    add_file_arguments(parser)


def main(args: argparse.Namespace) -> int:
    from bench.data.catalogue import describe, holds_texts
    from bench.models.anatomy import analyze_model
    from bench.models.texts.catalogue import find_text_model
    from bench.planning.sweep_files import load_profile
    from bench.spec import FIELDS
    from reports.document.table import (
        TERA,
        Table,
        Value,
        number_column,
        rounded_column,
        text_column,
    )
    from reports.document.terminal import format_text

    profile, root = load_profile(args.profile), collect_files(args).get("data", "")
    rows: list[dict[str, Value]] = []
    for role, settings in profile["models"].items():
        for dataset in profile["datasets"].values():
            values = {**profile["run"], **settings, **dataset}
            if holds_texts(values["data"]) != (find_text_model(values["model"]) is not None):
                continue
            facts = describe(values["data"], root)
            size = facts.length or values["resolution"]  # for texts: the length of a typical batch
            layers, flops = analyze_model(values["model"], facts.classes, size)
            flops = flops.with_batch(values.get("batch_size", FIELDS["batch_size"].default))
            samples = facts.train_samples * values["epochs"]
            rows.append(
                {
                    "role": role,
                    "model": values["model"],
                    "data": values["data"],
                    "paper": flops.paper().total * samples,
                    "exact": flops.exact().total * samples,
                    "layers": len(layers),
                }
            )
    columns = (
        text_column("model", "role"),
        text_column("stand-in", "model"),
        text_column("data", "data"),
        rounded_column("paper's convention", "paper", digits=4, scale=TERA),
        rounded_column("exact", "exact", digits=4, scale=TERA),
        number_column("layers", "layers", digits=0),
    )
    title = f"TFLOPs of full training, profile {profile['name']}"
    print(format_text(Table(title, columns, rows)), end="")
    return 0
