"""Table 6: freezing methods against full training, BERT fine-tuned on two tasks of GLUE."""

from __future__ import annotations

import pandas as pd

from reports.against_full import against_full
from reports.caption import Profile
from reports.frame import Reader
from reports.fronts import front
from reports.report import Report

TITLE = "Table 6: freezing methods against full training, fine-tuning BERT"
SCORE = "Score (%)"
METRICS = (
    "Score: accuracy on mrpc; on cola Matthews correlation times 100, which the paper's table calls"
    " accuracy. Both are of GLUE's dev part, or of what stands for it."
)
PREDICTOR = "SmartFRZ's predictor has learnt from networks for images alone, as the paper's had."


def report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Table 6 with its scores against computation."""
    built = against_full(frame, profile, 6, TITLE, [METRICS, PREDICTOR], SCORE)
    return built.report("table6", TITLE, frame, front("table6", frame, profile, SCORE.lower()))
