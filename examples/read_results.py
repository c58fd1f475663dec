"""Print the mean results of each method: python examples/read_results.py RESULTS."""

import sys

from bench.api import load_results


def main() -> None:
    """Read the results folder given on the command line and print one row per cell."""
    runs = load_results(sys.argv[1]).runs
    done = runs[runs.state == "done"]
    if done.empty:
        sys.exit(f"no finished run in {sys.argv[1]}")
    done = done.assign(
        tflops=(done.exact_total + done.decide_flops) / 1e12,
        seconds=done.train_s + done.decide_s,
    )
    cells = done.groupby(["model", "data", "strategy"])
    print(cells[["accuracy", "tflops", "seconds"]].mean().round(3).to_string())


if __name__ == "__main__":
    main()
