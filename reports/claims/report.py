"""Report on the claims of the paper: the paper's values, the measured values, and the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from reports.claims.claims import Claim, list_claims
from reports.claims.evidence import Frames
from reports.document.profile import Profile
from reports.document.report import Report
from reports.document.table import Row, Table, text_column
from reports.runs.epochs import read_epochs
from reports.runs.run_table import Reader
from reports.statistics import MARGIN

TITLE = "Claims of the paper"
NOTES = (
    "Intervals are two-sided 95 % intervals. They are paired by seed if they compare two methods. "
    "Those of differences in accuracy also cover the test draw. If a rule says “pooled”, three or "
    "more pairs of model and data set are pooled. The interval is then over the means of the "
    "pairs. With three or more models, it is widened to contain the interval over the models, "
    "because the pairs of one model are not independent.",
    "“Undecided” means that an interval contains the threshold of its rule or has fewer than "
    "three values. It also means that runs are missing or that times cannot be compared. The "
    "column “These runs” shows the interval, or why there is none.",
    f"“Loses no accuracy” means that the interval of the loss is below {MARGIN} points.",
    "The rules are the same for every profile. An outcome is valid only for the models and data "
    "sets of this profile. A claim with several intervals does not hold only if one of them still "
    "contradicts it after Bonferroni's correction for the number of intervals in all of its parts. "
    "The intervals shown are not corrected, and nothing is corrected for the number of claims.",
    "A share saved is 1 − geometric mean of the cost ratios over the seeds. The tables show FLOPs "
    "saved as 1 − ratio of the mean FLOPs, which can differ slightly.",
)
COLUMNS = (
    text_column("Claim", "claim"),
    text_column("In the paper", "where"),
    text_column("Paper: values", "paper"),
    text_column("These runs", "ours"),
    text_column("Outcome", "verdict"),
    text_column("Rule", "rule"),
)
COMPACT = (
    text_column("Claim", "claim"),
    text_column("These runs", "ours"),
    text_column("Outcome", "verdict"),
)


def build_claims_report(frames: Frames, profile: Profile) -> Report:
    """Return the report on all claims, judged on the runs of all tables (see collect_frames)."""
    rows = [judge_claim(claim, frames) for claim in list_claims()]
    about = [profile.departures] * bool(profile.departures)
    title = f"{TITLE} ({profile.name} profile)"
    table = Table(
        title, COLUMNS, rows, (), [profile.sentence, *count_outcomes(rows), *NOTES, *about]
    )
    # Claims and findings use the paper's names, so the notes list the stand-ins.
    compact = Table(
        title, COMPACT, rows, (), [profile.sentence, *count_outcomes(rows), *NOTES[2:3], *about]
    )
    return Report(
        "claims", TITLE, (table,), (), pd.DataFrame(), compact=(compact,), numbers={"claims": table}
    )


def judge_claim(claim: Claim, frames: Frames) -> Row:
    """Judge one claim and return its row."""
    found = claim.criterion(frames)
    return {
        "claim": claim.text,
        "where": claim.where,
        "paper": claim.printed,
        "ours": found.ours,
        "verdict": found.outcome,  # column of claims.csv
        "rule": claim.criterion.rule,
    }


def count_outcomes(rows: Sequence[Row]) -> list[str]:
    """Return a note with the number of claims for each outcome."""
    outcomes = [str(row["verdict"]) for row in rows]
    hold, fail, open_ = map(outcomes.count, ("holds", "does not hold", "undecided"))
    return [f"{len(rows)} claims. Holds: {hold}. Does not hold: {fail}. Undecided: {open_}."]


def collect_frames(reports: Sequence[Report], reader: Reader) -> Mapping[str, pd.DataFrame]:
    """Return the frames that the criteria read: the runs of each table, by the name of the table.

    Figure 5 adds two frames. "freeze_steps" has one row per layer, and "epochs" one row per epoch.
    """
    frames = {report.name: report.frame for report in reports}
    if "figure5" in frames:
        frames["freeze_steps"] = reader.read_freeze_steps(frames["figure5"])
        frames["epochs"] = read_epochs(frames["figure5"], reader.results)
    return frames
