"""`freezebench compare`: two runs, cells or sweeps side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli.arguments import collect_fields, require_results
from bench.cli.sweep_arguments import add_sweep_choice_arguments, check_sweep_files, load_sweeps
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.planning.sweep import Sweep

HELP = "print two runs, cells or sweeps side by side"
EXAMPLE = "freezebench compare 1df6de4d74ea 691d679cab4c"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "first",
        metavar="A",
        help="id of a run (its first characters suffice), or a sweep by name or file",
    )
    parser.add_argument("second", metavar="B", help="another one of the same kind")
    parser.add_argument(
        "--cells",
        action="store_true",
        help="compare all seeds of the cells that contain the two runs",
    )
    add_sweep_choice_arguments(parser)


def main(args: argparse.Namespace) -> int:
    from reports.comparison.side_by_side import (
        compare_cells,
        compare_layers,
        compare_sweeps,
    )
    from reports.document.terminal import format_text
    from reports.runs.compared_runs import Side, find_side
    from reports.runs.export import read_results

    root = require_results(args)
    results = read_results(root)
    first, second = names = (args.first, args.second)
    sweeps = [_is_sweep(name) for name in names]
    if sweeps[0] != sweeps[1]:
        a_sweep, other = (first, second) if sweeps[0] else (second, first)
        raise UserError(f"{a_sweep} is a sweep, but {other} is not; give two sweeps, or two ids")
    if all(sweeps):
        if args.cells:
            raise UserError(
                "--cells is for ids of runs; remove it, because sweeps are always compared by cell"
            )
        found, runs = [], results.runs
        args.controls = True
        loaded = [load_sweeps(args, [name]) for name in names]
        check_sweep_files(args, loaded)
        for name, sweep in zip(names, loaded, strict=True):
            cells = _list_cells(sweep)
            found.append(
                {roles: Side(name, runs[runs.run.isin(ids)], len(ids)) for roles, ids in cells}
            )
        shown = (Path(first).stem, Path(second).stem)
        print(format_text(compare_sweeps(shown, tuple(found))))
        return 0
    if option := _find_sweep_option(args):
        raise UserError(
            f"{option} is for sweeps, but {first} is the id of a run; remove the option"
        )
    one, other_side = (find_side(results, name, args.cells, root) for name in names)
    for table in (compare_cells(one, other_side), compare_layers(results, one, other_side)):
        if table:
            print(format_text(table))
    return 0


def _is_sweep(name: str) -> bool:
    from bench.planning.sweep_files import list_sweeps

    return name.endswith(".toml") or name in list_sweeps()


def _find_sweep_option(args: argparse.Namespace) -> str:
    """Return the first given option that applies to sweeps only, or "" if there is none."""
    parser = argparse.ArgumentParser()
    add_sweep_choice_arguments(parser)
    defaults = vars(parser.parse_args([]))
    given = [key for key, default in defaults.items() if getattr(args, key) != default]
    names = [*(key for key in given if key != "results"), *collect_fields(args)]
    return f"--{names[0].replace('_', '-')}" if names else ""


def _list_cells(sweep: Sweep) -> list[tuple[tuple[str, ...], list[str]]]:
    """Return for each cell of a sweep its (model, data set, method), and the ids of its runs."""
    cells: dict[tuple[str, ...], list[str]] = {}
    for entry in sweep.entries:
        roles = tuple(entry.roles.get(key, "") for key in ("model", "dataset", "method"))
        cells.setdefault(roles, []).append(entry.spec.id)
    return list(cells.items())
