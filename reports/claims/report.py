"""Paper against here: each claim of the paper, its figures, ours, and whether it holds."""

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

TITLE = "Paper against here"
NOTES = (
    "Intervals are two-sided 95 % t intervals, paired by seed; where there are three pairs of "
    "model and data or more they are pooled over the pairs' means. An interval that reaches over "
    "the threshold of its rule decides nothing.",
    "Cannot be told: the interval does not decide, or runs are missing, which the column says.",
    f"“Loses no accuracy” holds where the loss is below {MARGIN} points beyond chance.",
    "The rules are the same for every profile; a verdict is one on this profile's models and data. "
    "No correction is made over the claims.",
)
COLUMNS = (
    text_column("Claim", "claim"),
    text_column("In the paper", "where"),
    text_column("Paper: its figures", "paper"),
    text_column("Here", "ours"),
    text_column("Verdict", "verdict"),
    text_column("Rule", "rule"),
)
COMPACT = (
    text_column("Claim", "claim"),
    text_column("Here", "ours"),
    text_column("Verdict", "verdict"),
)


def build_report(frames: Frames, profile: Profile) -> Report:
    """The claims held against the runs of all tables (see `collect_frames`)."""
    rows = [judge_claim(claim, frames) for claim in list_claims()]
    about = [profile.departures] * bool(profile.departures)
    title = f"{TITLE} ({profile.name} profile)"
    table = Table(
        title, COLUMNS, rows, (), [profile.sentence, *count_verdicts(rows), *NOTES, *about]
    )
    # Claims and findings name models and data as the paper does.
    compact = Table(
        title, COMPACT, rows, (), [profile.sentence, *count_verdicts(rows), *NOTES[2:3], *about]
    )
    return Report(
        "claims", TITLE, (table,), (), pd.DataFrame(), compact=(compact,), numbers={"claims": table}
    )


def judge_claim(claim: Claim, frames: Frames) -> Row:
    """One claim, judged."""
    found = claim.criterion(frames)
    return {
        "claim": claim.text,
        "where": claim.where,
        "paper": claim.paper,
        "ours": found.ours,
        "verdict": found.verdict,
        "rule": claim.criterion.rule,
    }


def count_verdicts(rows: Sequence[Row]) -> list[str]:
    """How many claims have which verdict."""
    verdicts = [str(row["verdict"]) for row in rows]
    counts = [f"{verdicts.count(v)} {v}" for v in ("holds", "does not hold", "cannot be told")]
    return [f"Of {len(rows)} claims: {', '.join(counts)}."]


def collect_frames(reports: Sequence[Report], reader: Reader) -> Mapping[str, pd.DataFrame]:
    """What the rules are given: the runs of each table by its name, and Figure 5's layers and
    epochs as "moments" and "epochs".
    """
    frames = {one.name: one.frame for one in reports}
    if "figure5" in frames:
        frames["moments"] = reader.freezing(frames["figure5"])
        frames["epochs"] = read_epochs(frames["figure5"], reader.results)
    return frames
