"""Table 2: freezing methods compared with full training in fine-tuning."""

from __future__ import annotations

import pandas as pd

from reports.comparison.accuracy_cost_drawing import make_accuracy_cost_drawing
from reports.comparison.against_full_table import AgainstFull, build_against_full
from reports.comparison.pooled_table import add_pooled
from reports.document.profile import Profile
from reports.document.report import Drawing, Report, clean_file_name
from reports.figures.freeze_steps import draw_freeze_steps
from reports.runs.run_table import Reader

NUMBER = 2
TITLE = "Table 2: freezing methods against full training, fine-tuning"


def build_report(frame: pd.DataFrame, reader: Reader, profile: Profile) -> Report:
    """Return the report of Table 2 with plots of accuracy against cost and of freezing times."""
    drawings = (
        make_accuracy_cost_drawing("table2", frame, profile),
        *make_freeze_drawings(frame, reader, profile),
    )
    return build_table2(frame, profile).make_report("table2", TITLE, frame, *drawings)


def make_freeze_drawings(frame: pd.DataFrame, reader: Reader, profile: Profile) -> list[Drawing]:
    """Return one drawing per data set that shows when each layer froze."""
    freeze_steps = reader.read_freeze_steps(frame)

    def drawing(dataset: str) -> Drawing:
        title = f"When each layer froze, {profile.format_name(dataset)}"
        here = freeze_steps[freeze_steps.dataset == dataset]
        return Drawing(
            f"table2_freezing_{clean_file_name(dataset)}",
            title,
            "Each point shows when a layer of one seed froze. Hollow points on the line “never” "
            "are layers that trained to the end.",
            lambda: draw_freeze_steps(here, profile, title),
        )

    return [drawing(dataset) for dataset in dict.fromkeys(frame.dataset)]


def build_table2(frame: pd.DataFrame, profile: Profile) -> AgainstFull:
    """Build Table 2 from a frame of its runs (see reports.runs.run_table.read_runs)."""
    built = build_against_full(frame, profile, NUMBER, TITLE)
    return add_pooled(built, NUMBER, f"Table {NUMBER}", profile)
