"""Table 6: freezing methods against full training, BERT fine-tuned on two tasks of GLUE."""

from __future__ import annotations

import pandas as pd

from reports.comparison.against_full_table import build_against_full
from reports.document.profile import Profile
from reports.document.report import Report
from reports.figures.accuracy_cost_drawing import draw_front
from reports.runs.run_table import Reader

TITLE = "Table 6: freezing methods against full training, fine-tuning BERT"
SCORE = "Score (%)"
METRICS = (
    "Score: accuracy on mrpc; on cola Matthews correlation times 100, which the paper's table calls"
    " accuracy. Both are of GLUE's dev part, or of what stands for it."
)
PREDICTOR = "SmartFRZ's predictor has learnt from networks for images alone, as the paper's had."


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Table 6 with its scores against computation."""
    built = build_against_full(frame, profile, 6, TITLE, [METRICS, PREDICTOR], SCORE)
    return built.report("table6", TITLE, frame, draw_front("table6", frame, profile, SCORE.lower()))
