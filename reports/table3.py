"""Table 3: freezing methods against full training, a convolutional network from scratch."""

from __future__ import annotations

import pandas as pd

from reports import caption
from reports.against_full import against_full
from reports.caption import Profile
from reports.frame import Reader
from reports.fronts import front
from reports.report import Report

TITLE = "Table 3: freezing methods against full training, from scratch"
CAPTION = (
    "The paper's caption of this table says CIFAR-10, its column and its text CIFAR-100, which is "
    "what is meant here; it prints no computation."
)


def report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Table 3 with its accuracy against computation."""
    notes = [CAPTION, caption.AUTOFREEZE_FROM_SCRATCH]
    built = against_full(frame, profile, 3, TITLE, notes, conditional=caption.FROM_SCRATCH)
    return built.report("table3", TITLE, frame, front("table3", frame, profile))
