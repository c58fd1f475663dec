"""One panel a run: what stands above it, and what it says when its run is not there."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes

from reports.document.profile import Profile


def build_titles(frame: pd.DataFrame, profile: Profile) -> Mapping[str, str]:
    """What to call each wanted run, by its id: model and data set in two lines.

    Method and seed are named where the runs differ in them.
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
    """Leave a panel empty but for the reason."""
    axes.text(0.5, 0.5, "no finished run", transform=axes.transAxes, ha="center", color="#666666")
    axes.set_xticks([])
    axes.set_yticks([])
