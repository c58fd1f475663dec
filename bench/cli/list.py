"""`freezebench list`: strategies, models, data sets, sweeps, profiles and run fields."""

from __future__ import annotations

import argparse
import inspect

from bench.errors import UserError

HELP = "list strategies and their options, models, data sets, sweeps, profiles and run fields"
EXAMPLE = "freezebench list strategies"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        choices=("strategies", "models", "data", "sweeps", "profiles", "fields"),
        help="the kind to list (default: all kinds)",
    )
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="print the strategies as the Markdown table of the README",
    )


def main(args: argparse.Namespace) -> int:
    if args.markdown:
        if args.what not in (None, "strategies"):
            raise UserError(f"--markdown prints strategies only; remove {args.what}")
        print(format_strategies())
        return 0
    kinds = {
        "strategies": _print_strategies,
        "models": _print_models,
        "data": _print_data,
        "sweeps": _print_sweeps,
        "profiles": _print_profiles,
        "fields": _print_fields,
    }
    for kind, show in kinds.items():
        if args.what in (None, kind):
            print(f"{kind}:")
            show()
    return 0


def format_strategies() -> str:
    """Return the built-in strategies as a Markdown table, controls last."""
    from bench.strategy_api.built_in import find_built_in

    rows = ["| name | what it does |", "|---|---|"]
    for facts in sorted(find_built_in().values(), key=lambda facts: facts.is_control):
        control = "Control. " if facts.is_control else ""
        rows.append(f"| `{facts.name}` | {control}{facts.summary} |")
    return "\n".join(rows)


def _print_strategies() -> None:
    from bench.strategy_api.registry import find_strategies, load_strategy_class

    for name in sorted(find_strategies()):
        try:
            cls = load_strategy_class(name)
        except UserError as error:
            print(f"  {name:12} cannot be used: {error}")
            continue
        print(f"  {name:12} {(inspect.getdoc(cls) or '').splitlines()[0]}")
        for key, option in cls.options.items():
            print(f"    {key} = {option.default!r}: {option.doc} ({option.describe_valid()})")


def _print_models() -> None:
    from bench.models.catalogue import describe

    for name, text in describe().items():
        print(f"  {name:24} {text}")


def _print_data() -> None:
    from bench.data.catalogue import list_data_sets

    for data_set in list_data_sets():
        print(f"  {data_set.name:24} {data_set.summary}")


def _print_sweeps() -> None:
    from bench.planning.sweep_files import list_sweeps

    print("  " + ", ".join(list_sweeps()))


def _print_profiles() -> None:
    from bench.planning.sweep_files import list_profiles, load_profile

    for name in list_profiles():
        print(f"  {name:12} {load_profile(name)['description']}")


def _print_fields() -> None:
    from bench.spec import FIELDS

    for name, option in FIELDS.items():
        print(f"  {name} = {option.default!r}: {option.doc} ({option.describe_valid()})")
