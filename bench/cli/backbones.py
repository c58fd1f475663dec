"""`freezebench backbones`: train the backbones of the laptop profile again."""

from __future__ import annotations

import argparse

from bench.cli.arguments import add_results_argument, add_workers_argument
from bench.errors import UserError

HELP = "train the shipped backbones of the laptop profile again, and replace their files"
EXAMPLE = "freezebench backbones --workers 2"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_results_argument(parser)
    add_workers_argument(parser)


def main(args: argparse.Namespace) -> int:
    from bench.files import read_json
    from bench.launch.launch import launch
    from bench.models.shipped_backbones import ship_backbone
    from bench.planning.sweep import load_sweep
    from bench.results.run_folder import RunFolder

    sweep = load_sweep("backbones", "laptop")
    runs = {e.roles["model"]: e.spec.with_changes(keep_model=True) for e in sweep.entries}
    outcome = launch(list(runs.values()), args.results, args.workers)
    if outcome.stopped:
        raise KeyboardInterrupt
    if outcome.failed:
        return 1
    for name, spec in runs.items():
        folder = RunFolder(args.results, spec.id)
        if folder.diverged:
            raise UserError(f"{spec.label}: the run diverged; lower lr in sweeps/backbones.toml")
        result = folder.result()
        machine = read_json(folder.path / "environment.json")
        provenance = {
            "run": spec.id,
            "spec": {k: v for k, v in spec.to_dict().items() if k != "paths"},
            "accuracy": result["accuracy"],
            **{key: machine[key] for key in ("results_version", "python", "packages", "device")},
        }
        path = ship_backbone(name, folder.model, provenance)
        print(f"{path.name}: {result['accuracy']:.1f} % on its evaluation part")
    return 0
