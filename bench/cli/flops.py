"""`freezebench flops`: full training's computation, counted without training anything."""

from __future__ import annotations

import argparse

from bench.cli.arguments import file_arguments, named_files

HELP = "computation of full training in both conventions, without training"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", default="laptop", help="a profile by name or a TOML file")
    file_arguments(parser)


def main(args: argparse.Namespace) -> int:
    from bench.data.catalogue import describe, holds_texts
    from bench.models.anatomy import anatomy
    from bench.models.texts.catalogue import find_text_model
    from bench.planning.sweep import load_profile

    profile, root = load_profile(args.profile), named_files(args).get("data", "")
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
            layers, flops = anatomy(values["model"], facts.classes, size)
            samples = facts.train_samples * values["epochs"]
            paper, exact = (f.total * samples / 1e12 for f in (flops.paper(), flops.exact()))
            print(
                f"{role:14}{values['model']:24}{values['data']:23}"
                f"{_figure(paper):>14}{_figure(exact):>14}{len(layers):8}"
            )
    return 0


def _figure(teraflops: float) -> str:
    return f"{teraflops:,.0f}" if teraflops >= 100 else f"{teraflops:.4g}"
