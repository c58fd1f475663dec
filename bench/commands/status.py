"""`freezebench status`: how far a sweep is, from its folders alone."""

from __future__ import annotations

import argparse
from collections import defaultdict

from bench.commands.places import sweep_arguments, sweep_of

HELP = "how far a sweep is, wherever it runs"


def arguments(parser: argparse.ArgumentParser) -> None:
    sweep_arguments(parser)


def main(args: argparse.Namespace) -> int:
    from bench.results import RunFolder

    sweep = sweep_of(args)
    cells: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    reasons = []
    roles = {e.spec.id: " ".join(e.roles.values()) for e in sweep.entries}
    for spec in sweep.specs:
        folder = RunFolder(args.results, spec.id)
        state, reason = folder.state(spec)
        cells[roles.get(spec.id, f"artifact {spec.model}")][state] += 1
        if reason:
            reasons.append(f"{state}: {spec.label}: {reason}")
    for cell, states in cells.items():
        print(f"{cell:42} " + ", ".join(f"{n} {state}" for state, n in sorted(states.items())))
    print("\n".join(reasons), end="\n" if reasons else "")
    return 0
