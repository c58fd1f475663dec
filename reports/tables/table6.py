"""Table 6: freezing methods compared with full training, BERT fine-tuned on two GLUE tasks."""

from __future__ import annotations

import pandas as pd

from reports.comparison.accuracy_cost_drawing import make_accuracy_cost_drawing
from reports.comparison.against_full_table import build_against_full
from reports.document.profile import Profile
from reports.document.report import Report
from reports.runs.run_table import Reader

TITLE = "Table 6: freezing methods against full training, fine-tuning BERT"
SCORE = "Score (%)"
METRICS = (
    "Score: accuracy on mrpc, and 100 × the Matthews correlation on cola, which the paper's table "
    "calls accuracy. Both are measured on GLUE's dev split or its stand-in."
)
DROPOUT = (
    "Dropout is off in frozen layers, as in AutoFreeze's own code. The row “autofreeze, drop” "
    "keeps it on. For a model without dropout, such as laptop_bert, both rows are the same."
)
PREDICTOR = "SmartFRZ's predictor was trained on image networks only, like the paper's."


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Return the report of Table 6 with its plot of scores against computation."""
    built = build_against_full(frame, profile, 6, TITLE, [METRICS, PREDICTOR, DROPOUT], SCORE)
    return built.make_report(
        "table6", TITLE, frame, make_accuracy_cost_drawing("table6", frame, profile, SCORE.lower())
    )
