"""What every report says of itself: the profile, what stands for what, and how to read it."""

from __future__ import annotations

from collections.abc import Sequence

from reports.document.profile import Profile
from reports.runs.cells import Cell
from reports.runs.run_table import DIVERGED, FAILED, SLOWED, UNKNOWN
from reports.statistics import LEAST, MARGIN, SMALLEST_SHARE

LISTED = 12  # runs named one by one before the rest is only counted

DIVERGED_MARK, RESUMED_MARK, DEVICES_MARK, SLOWED_MARK = "†", "‡", "§", "¶"

SPREAD = (
    "± is the sample standard deviation over seeds (ddof = 1); the paper does not define its own."
)
CONDITIONAL = (
    "All intervals are conditional on one backbone and one predictor: "
    "they cover the seeds of fine-tuning, not other pretrainings."
)
SHARED = (
    "All intervals are conditional on what the runs of all seeds share, such as the weights they "
    "start from and the predictor they use."
)
FROM_SCRATCH = (
    "All intervals are conditional on one predictor: they cover the seeds of training, which draw "
    "the initial weights and the order of the data."
)
AUTOFREEZE_FROM_SCRATCH = (
    "AutoFreeze is made for fine-tuning: it may freeze from its second interval on, half an epoch "
    "into training, and has no warm-up of its own, so that from scratch it can freeze layers that "
    "have hardly learnt. It runs here as published."
)
ONE_REFERENCE = (
    "All intervals are conditional on one backbone and one reference: they cover the seeds of "
    "fine-tuning, not other pretrainings."
)
ONE_BACKBONE = (
    "All intervals are conditional on one backbone: they cover the seeds of fine-tuning, not other "
    "pretrainings."
)
A_PREDICTOR_EACH = (
    "All intervals are conditional on one backbone, and on one predictor for each setting: they "
    "cover the seeds of fine-tuning. That a setting's predictor came out well or badly when it was "
    "trained is not told from what the setting does."
)
TIME = (
    "Time is the clocks train + decide, as the paper charges freezing decisions to training; "
    "preparing and evaluating are not in it."
)
CONVENTIONS = (
    "FLOPs: 1 multiply-add = 2. “Paper” convention: a training layer costs 3 × its forward pass, "
    "a frozen one 2 ×, a frozen one with only frozen ones before it 1 ×. “Exact” is what autograd "
    "does. What deciding cost is in neither; it has a column of its own."
)
MEMORY = (
    "Saved + state: the peak of the bytes autograd keeps for the backward pass plus the peak of "
    "parameters, gradients and optimizer state: the same on every machine. CUDA: the allocator's."
)
VERDICT = (
    "Difference to full training, paired by seed, with a two-sided 95 % t interval. Non-inferior: "
    f"its lower end is above −{MARGIN}; inferior: its upper end is below −{MARGIN}; inconclusive "
    f"otherwise, with fewer than {LEAST} seeds (over all pairs, fewer than {LEAST} pairs), and at "
    "best inconclusive while a wanted seed of either has no number, be it that it diverged, failed "
    "or is not finished; over all pairs nothing is tested until then."
)
SAVINGS = (
    "Savings are against full training of the same model and data. Exact saved counts what "
    "deciding cost against the strategy. Realised = share of time saved / share of FLOPs saved "
    f"(paper's convention; over all pairs, of the mean shares), not told where that is below "
    f"{100 * SMALLEST_SHARE:g} %. A saving is a "
    "speed-up only where the verdict is non-inferior."
)
REPLAYED = (
    "Replayed: the time saved that `freezebench retime` rebuilds from the recorded freezes and "
    "from steps timed in turns with full training; a dash where it was not asked."
)
POOLED = (
    "Pooled: every pair of model and data counts once, by its mean difference; t interval over the "
    "pairs. p values are Holm-adjusted over the strategies of this table: p (no worse) is "
    "one-sided for a loss below the margin, to be held against 0.025; p (different) is two-sided. "
    "Realised is told where it is for every pair. A speed-up is claimed of a method that is no "
    "worse and saves time beyond chance, both after Holm's correction."
)


def describe_setting(cells: Sequence[Cell], profile: Profile) -> list[str]:
    """On what the runs were made, and with which predictor."""
    made_on = frozenset().union(*(cell.devices for cell in cells))
    known = {name for name in made_on if not name.startswith(UNKNOWN)}
    devices = sorted(known) + [f"{UNKNOWN}s"] * (known < made_on) or [profile.device]
    notes = [f"Device: {'; '.join(devices)}."] if devices != [""] else []
    if profile.predictor:
        notes.append(f"Predictor: {profile.predictor}.")
        notes += [profile.departures] * bool(profile.departures) + _note_known_data(cells, profile)
    return notes


def _note_known_data(cells: Sequence[Cell], profile: Profile) -> list[str]:
    """Says so where a data set is of the kind that the predictor learned from."""
    kinds = {source.partition(":")[0] for source in profile.sources}
    names = dict.fromkeys(cell.roles[1] for cell in cells)
    used = {name: profile.stands_for.get(profile.find_role(name), name) for name in names}
    return [
        f"SmartFRZ's predictor was trained on {', '.join(profile.sources)}, as the paper's was on "
        f"ImageNet: {profile.format_name(name)} is of a kind that is not new to it."
        for name in names
        if used[name].partition(":")[0] in kinds
    ]


def explain_marks(cells: Sequence[Cell]) -> list[str]:
    """What the marks mean, for those that are used."""
    timed: dict[tuple[str, ...], frozenset[str]] = {}  # what is compared with full training
    for cell in cells:
        timed[cell.roles[:-1]] = timed.get(cell.roles[:-1], frozenset()) | cell.devices
    notes = []
    if any(cell.diverged for cell in cells):
        notes.append(f"{DIVERGED_MARK} a seed diverged; means are over the finished seeds only.")
    if any(cell.resumed for cell in cells):
        notes.append(f"{RESUMED_MARK} a run was interrupted and resumed, which its time includes.")
    if any(cell.slowed for cell in cells):
        slowed, finished = sum(cell.slowed for cell in cells), sum(cell.n for cell in cells)
        notes.append(
            f"{SLOWED_MARK} something else ran on the same CPU: wall time above {SLOWED:g} × CPU "
            f"time, in {slowed} of {finished} runs (of several threads some may have had nothing "
            "to do, which looks alike). Such times tell of the machine, not of the method, and no "
            "speed-up is claimed from them."
        )
    if any(len(devices) > 1 for devices in timed.values()):
        notes.append(f"{DEVICES_MARK} made on more than one device: such times never meet.")
    return notes


def list_failures(cells: Sequence[Cell], profile: Profile) -> list[str]:
    """One line for every run that ended without a number, and how many are still wanted."""
    ended = [
        f"{run['state']}: {' / '.join(profile.format_name(r) for r in cell.roles)}, "
        f"seed {run['seed']} "
        f"(run {run['id']})" + (f": {run['reason']}" if run["reason"] else "")
        for cell in cells
        for run in cell.runs
        if run["state"] in (DIVERGED, FAILED)
    ]
    lines = ended[:LISTED]
    if len(ended) > LISTED:
        lines.append(f"and {len(ended) - LISTED} more that diverged or failed")
    absent = sum(cell.wanted - cell.n for cell in cells) - len(ended)
    if absent:
        lines.append(f"{absent} of {sum(cell.wanted for cell in cells)} runs have no result yet")
    return [f"{line[0].upper()}{line[1:]}." for line in lines]


def format_marks(cell: Cell, timed: bool = False, beside: frozenset[str] = frozenset()) -> str:
    """The marks of a cell's mean, or of its mean time.

    beside: the devices of what it is held against.
    """
    words = DIVERGED_MARK * bool(cell.diverged)
    if timed:
        words += RESUMED_MARK * bool(cell.resumed) + DEVICES_MARK * (len(cell.devices | beside) > 1)
        words += SLOWED_MARK * bool(cell.slowed)
    return f" {words}" if words else ""


def format_seed_count(cell: Cell) -> str:
    """How many of the wanted runs have a number, and what became of those that ended without."""
    lost = [f"{count} {word}" for count, word in
            ((cell.diverged, DIVERGED), (cell.failed, FAILED)) if count]  # fmt: skip
    return f"{cell.n} of {cell.wanted}" + (f" ({', '.join(lost)})" if lost else "")
