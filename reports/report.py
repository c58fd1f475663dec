"""Writes a table's report: documents, numbers, figures, and a record of how they were made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.results import explained, write_whole
from reports import frame as frames
from reports import render
from reports.caption import Profile
from reports.figures.accuracy_cost import accuracy_cost
from reports.figures.freezing_moment import freezing_moment
from reports.figures.style import save, styled
from reports.frame import ROLES
from reports.provenance import provenance
from reports.table2 import Table2, table2


def write_table2(
    wanted: Iterable[Mapping[str, Any]], results: Path, out: Path, profile: Mapping[str, Any]
) -> list[Path]:
    """Write Table 2 from the wanted runs (see reports.frame) below a results folder.

    profile: name, stands_for (the paper's names to those used), device, predictor.
    Returns the files; the first is the text for a terminal. Raises UserError if a result is
    damaged or `out` cannot be written.
    """
    described, frame = Profile.of(profile), frames.read(wanted, results)
    if frame.empty:
        raise UserError("Table 2 has no runs; check the sweep it is made from")
    make_folder(out)
    files = _documents(table2(frame, described), out)
    files += _figures(frame, results, out, described)
    record = out / "table2.json"
    write_whole(record, provenance(frame, described, files, ROLES))
    return [*files, record]


def make_folder(out: Path) -> None:
    """Make a report's folder; raises UserError where that cannot be."""
    try:
        with explained(out):
            out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{error.filename} is a file where a folder must be; move it") from None


def _documents(table: Table2, out: Path) -> list[Path]:
    texts = {
        "table2.txt": render.terminal(table.compact) + "\n" + render.terminal(table.compact_pooled),
        "table2.md": "\n".join(render.markdown(part) for part in table.parts),
        "table2.csv": render.raw_csv(table.results),
        "table2_pooled.csv": render.raw_csv(table.pooled),
        "table2.tex": "\n".join(
            render.latex(part, f"tab:table2-{i}") for i, part in enumerate(table.parts, start=1)
        ),
    }
    for name, text in texts.items():
        write_whole(out / name, text)
    return [out / name for name in texts]


def _figures(frame: pd.DataFrame, results: Path, out: Path, profile: Profile) -> list[Path]:
    moments = frames.freezing(frame, results)
    files = []
    with styled(), explained(out):
        figure = accuracy_cost(frame, profile, "Accuracy against computation")
        files += save(figure, out / "table2_accuracy_cost")
        for dataset in dict.fromkeys(frame.dataset):
            here = moments[moments.dataset == dataset]
            title = f"When each layer froze, {profile.shown(dataset)}"
            figure = freezing_moment(here, profile, title)
            files += save(figure, out / f"table2_freezing_{_word(dataset)}")
    return files


def _word(name: str) -> str:
    """A name that may stand in a file name."""
    return "".join(sign if sign.isalnum() else "_" for sign in name)
