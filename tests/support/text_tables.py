"""Small text tables for tests: sentences of the grammar with labels, in files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from bench.data.catalogue import load_texts

Row = dict[str, str]


def make_rows(count: int, words: int = 6) -> list[Row]:
    """Return rows, each with a text of at most `words` words and the label "good" or "bad"."""
    samples = load_texts("grammar:acceptability", "test", "", 0).train[:count]
    names = ("bad", "good")
    return [{"text": " ".join(s.first.split()[:words]), "label": names[s.label]} for s in samples]


def write_table(path: Path, rows: list[Row]) -> Path:
    """Write rows in the format that the suffix names, and return the path."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        import pandas as pd

        pd.DataFrame(rows).to_parquet(path)
    else:
        with path.open("w", newline="") as file:
            delimiter = "\t" if path.suffix == ".tsv" else ","
            writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
    return path
