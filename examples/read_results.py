"""Read all finished runs of a results folder into pandas: python examples/read_results.py DIR."""

import json
import sys
from pathlib import Path

import pandas as pd


def read_runs(results: Path) -> pd.DataFrame:
    """Return one row for each finished run: its settings, accuracy, FLOPs and seconds."""
    rows = []
    for file in sorted(results.glob("runs/*/result.json")):
        result = json.loads(file.read_text())
        spec = json.loads((file.parent / "spec.json").read_text())
        rows.append(
            {
                "run": spec["id"],
                "model": spec["model"],
                "data": spec["data"],
                "strategy": spec["strategy"],
                "seed": spec["seed"],
                "status": result["status"],
                "accuracy": result.get("accuracy"),
                "tflops": (result["flops"]["exact"]["total"] + result["flops"]["decide"]) / 1e12,
                "seconds": result["clocks"]["train"] + result["clocks"]["decide"],
            }
        )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    runs = read_runs(Path(sys.argv[1]))
    if runs.empty:
        sys.exit(f"no finished run in {sys.argv[1]}")
    cells = runs.groupby(["model", "data", "strategy"])
    print(cells[["accuracy", "tflops", "seconds"]].mean().round(3).to_string())
