"""`freezebench flops`: FLOPs of full training, counted without training."""

from __future__ import annotations

import argparse

from bench.cli.arguments import add_file_arguments, add_profile_argument, collect_files

HELP = "count the FLOPs of full training by the paper's rule and exactly, without training"
EXAMPLE = "freezebench flops --profile paper"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_profile_argument(parser)
    add_file_arguments(parser)


def main(args: argparse.Namespace) -> int:
    from bench.data.catalogue import describe, holds_texts
    from bench.models.anatomy import analyze_model
    from bench.models.texts.catalogue import find_text_model
    from bench.planning.sweep_files import load_profile

    profile, root = load_profile(args.profile), collect_files(args).get("data", "")
    print(f"profile {profile['name']}: full training, TFLOPs")
    print(
        f"{'model':14}{'stands for it':24}{'data':23}{'paper rule':>14}{'exact':>14}{'layers':>8}"
    )
    for role, settings in profile["models"].items():
        for dataset in profile["datasets"].values():
            values = {**profile["run"], **settings, **dataset}
            if holds_texts(values["data"]) != (find_text_model(values["model"]) is not None):
                continue
            facts = describe(values["data"], root)
            size = facts.length or values["resolution"]  # texts: of a typical batch
            layers, flops = analyze_model(values["model"], facts.classes, size)
            samples = facts.train_samples * values["epochs"]
            paper, exact = (f.total * samples / 1e12 for f in (flops.paper(), flops.exact()))
            print(
                f"{role:14}{values['model']:24}{values['data']:23}"
                f"{_format_flops(paper):>14}{_format_flops(exact):>14}{len(layers):8}"
            )
    return 0


def _format_flops(teraflops: float) -> str:
    return f"{teraflops:,.0f}" if teraflops >= 100 else f"{teraflops:.4g}"
