"""`freezebench list`: strategies, models, data sets, sweeps and profiles, with their parameters."""

from __future__ import annotations

import argparse
import inspect

HELP = "strategies, models, data sets, sweeps and profiles, with their parameters"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        choices=("strategies", "models", "data", "sweeps", "profiles", "fields"),
        help="one kind only",
    )


def main(args: argparse.Namespace) -> int:
    kinds = {
        "strategies": _strategies,
        "models": _models,
        "data": _data,
        "sweeps": _sweeps,
        "profiles": _profiles,
        "fields": _fields,
    }
    for kind, show in kinds.items():
        if args.what in (None, kind):
            print(f"{kind}:")
            show()
    return 0


def _strategies() -> None:
    from bench.errors import UserError
    from bench.strategy_api.registry import installed, strategy_class

    for name in sorted(installed()):
        try:
            cls = strategy_class(name)
        except UserError as error:
            print(f"  {name:12} cannot be used: {error}")
            continue
        print(f"  {name:12} {(inspect.getdoc(cls) or '').splitlines()[0]}")
        for key, option in cls.options.items():
            print(f"    {key} = {option.default!r}: {option.doc} ({option.valid()})")


def _models() -> None:
    from bench.models.catalogue import describe

    for name, text in describe().items():
        print(f"  {name:24} {text}")


def _data() -> None:
    from bench.data.catalogue import list_data_sets

    for data_set in list_data_sets():
        print(f"  {data_set.name:24} {data_set.summary}")


def _sweeps() -> None:
    from bench.planning.sweep import sweep_names

    print("  " + ", ".join(sweep_names()))


def _profiles() -> None:
    from bench.planning.sweep import load_profile, profile_names

    for name in profile_names():
        print(f"  {name:12} {load_profile(name)['description']}")


def _fields() -> None:
    from bench.spec import FIELDS

    for name, option in FIELDS.items():
        print(f"  {name} = {option.default!r}: {option.doc} ({option.valid()})")
