"""Titles of panels that show one run each, and the text of a panel without a run."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from reports.document.profile import Profile


def build_titles(frame: pd.DataFrame, profile: Profile) -> Mapping[str, str]:
    """Return the title of each wanted run, by run id: model and data set in two lines.

    Method and seed are included if the runs differ in them.
    """
    known = [key for key in ("method", "seed") if frame[key].nunique() > 1]
    return {
        run["id"]: "\n".join(
            [
                profile.format_name(run["model"]),
                ", ".join(
                    [
                        profile.format_name(run["dataset"]),
                        *(f"{key} {run[key]}" for key in known),
                    ]
                ),
            ]
        )
        for run in frame.to_dict("records")
    }


def mark_unfinished(axes: Axes) -> None:
    """Write into an empty panel that its run is not finished."""
    axes.text(0.5, 0.5, "no finished run", transform=axes.transAxes, ha="center", color="#666666")
    axes.set_xticks([])
    axes.set_yticks([])
