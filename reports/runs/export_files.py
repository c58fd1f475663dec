"""Files of exported results: parquet or CSV, in one folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import pandas as pd

from bench.errors import UserError
from bench.files import (
    expand_home,
    explain_errors,
    get_utf8_path,
    make_folder,
    replace_atomically,
)
from reports.runs.export import DECISIONS, RUNS, SCHEMA, ExportColumn, Results, read_results

Format = Literal["parquet", "csv"]
_TABLES: Mapping[str, Mapping[str, ExportColumn]] = {"runs": RUNS, "decisions": DECISIONS}


def write_results(results: Results, folder: Path, kind: Format) -> list[Path]:
    """Write both tables into a folder, and return the paths of the files."""
    make_folder(folder)
    paths = []
    for name in _TABLES:
        frame: pd.DataFrame = getattr(results, name)
        path = folder / f"{name}.{kind}"
        with explain_errors(path), replace_atomically(path) as temporary:
            if kind == "parquet":
                with temporary.open("wb") as file:  # pyarrow refuses paths that are not UTF-8
                    frame.to_parquet(file, index=False)
            else:
                frame.to_csv(temporary, index=False)
        paths.append(path)
    return paths


def load_results(path: str | Path) -> Results:
    """Return the runs and decisions of a results folder, or of a folder made by `export`.

    Args:
        path: a results folder, which contains `runs/`, or a folder made by `export`, which contains
            runs.parquet or runs.csv. If both files exist, the newer one is read.

    The returned Results has the pandas frames `runs` and `decisions`. Raises UserError if there are
    no results, or if exported files have another schema version. Results of versions before 3 or
    after the current version also raise it.
    """
    folder = expand_home(path)
    if (folder / "runs").is_dir():
        return read_results(folder)
    found = [kind for kind in _READERS if (folder / f"runs.{kind}").exists()]
    if found:
        kind = max(found, key=lambda kind: (folder / f"runs.{kind}").stat().st_mtime_ns)
        files = [folder / f"{name}.{kind}" for name in _TABLES]
        runs, decisions = (_read(file, _READERS[kind]) for file in files)
        if not set(decisions.run) <= set(runs.run):
            raise UserError(
                f"{files[1]} belongs to another export than {files[0].name}; run "
                "`freezebench export` again"
            )
        return Results(runs, decisions)
    raise UserError(
        f"{folder} holds neither a folder `runs` nor runs.parquet or runs.csv; give a results "
        "folder, or one made by `freezebench export`"
    )


def _read_csv(path: Path) -> pd.DataFrame:
    columns = _TABLES[path.stem]
    return pd.read_csv(
        path,
        dtype={name: column.kind for name, column in columns.items()},
        keep_default_na=False,  # an empty text is a value
        na_values={name: [""] for name, column in columns.items() if column.kind != "str"},
    )


def _read_parquet(path: Path) -> pd.DataFrame:
    with get_utf8_path(path) as place:
        return pd.read_parquet(place)


_READERS: Mapping[Format, Callable[[Path], pd.DataFrame]] = {
    "parquet": _read_parquet,
    "csv": _read_csv,
}


def _read(path: Path, read: Callable[[Path], pd.DataFrame]) -> pd.DataFrame:
    """Return one table. Raise UserError if it is damaged or has another schema version."""
    columns = _TABLES[path.stem]
    with explain_errors(path):
        try:
            frame = read(path)
        except (ValueError, KeyError) as error:  # errors of pyarrow are ValueErrors
            raise UserError(f"{path} cannot be read ({error}); export the results again") from None
    found = set(frame["schema_version"]) if "schema_version" in frame else {"none"}
    if found - {SCHEMA} or set(frame.columns) != set(columns):
        known = ", ".join(map(str, found)) or "none"
        raise UserError(
            f"{path} has schema version {known} and {len(frame.columns)} columns, but this program "
            f"reads version {SCHEMA} with {len(columns)} columns, and their names must agree; run "
            "`freezebench export` again"
        )
    return frame[list(columns)].astype({name: column.kind for name, column in columns.items()})
