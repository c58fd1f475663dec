"""Notes below the tables, on the profile, the columns, the marks and the runs without a result."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from reports.document.profile import Profile
from reports.document.report import ACCURACY
from reports.runs.cells import Cell
from reports.runs.run_table import DIVERGED, FAILED, SLOWED, UNKNOWN
from reports.statistics import LEAST, MARGIN, MARGIN_OPEN, POWER, SMALLEST_SHARE

LISTED = 12  # maximum number of failed runs that a note names; the rest is only counted

DIVERGED_MARK, RESUMED_MARK, DEVICES_MARK, SLOWED_MARK = "†", "‡", "§", "¶"

PERCENT_SCORE, SCORE = "Score (%)", "Score"
MEANINGS = {  # of a score, by its metric (bench.data.interface.metrics)
    "accuracy": "accuracy in percent",
    "matthews": "100 × the Matthews correlation",
    "loss": "−100 × the loss in nats per word (a difference of 1 point is 1 % of perplexity)",
}
SPREAD = (
    "± is the sample standard deviation over seeds (ddof = 1). The paper does not define its own ±."
)
CONDITIONAL = (
    "All intervals are conditional on one backbone per model and on one predictor. They cover "
    "fine-tuning seeds and the test draw, not other pretrained weights or predictors."
)
SHARED = (
    "All intervals are conditional on what the runs of all seeds share, such as pretrained "
    "weights or the predictor. They cover seeds and the test draw only."
)
FROM_SCRATCH = (
    "All intervals are conditional on one predictor. They cover the test draw and the "
    "training seeds, which determine the initial weights and the order of the data."
)
AUTOFREEZE_FROM_SCRATCH = (
    "AutoFreeze was designed for fine-tuning. It has no warm-up and may freeze layers from its "
    "second decision on. By default, this decision is half an epoch into training. In training "
    "from scratch, it can therefore freeze layers that have hardly learnt. We run it as published."
)
ONE_REFERENCE = (
    "All intervals are conditional on one backbone per model. They cover seeds and the test draw, "
    "not other pretrained weights. They cover other references only if each seed has a reference "
    "of its own."
)
ONE_BACKBONE = (
    "All intervals are conditional on one backbone. They cover fine-tuning seeds and the "
    "test draw, not other pretrained weights."
)
A_PREDICTOR_EACH = (
    "All intervals are conditional on one backbone per model and on one predictor per setting. "
    "They cover fine-tuning seeds and the test draw only. The effect of a setting cannot be "
    "separated from chance in the training of its single predictor."
)
TIME = (
    "Time is wall time in training plus wall time in the strategy's decisions, which the paper "
    "also counts as training time. Preparation and evaluation are not included."
)
COMPUTATION = (
    "Comp.: FLOPs of training by the paper's convention, without those of decisions. The table of "
    "costs explains the convention."
)
CONVENTIONS = (
    "FLOPs: 1 multiply-add = 2 FLOPs. Paper's convention: a layer that trains costs 3 × its "
    "forward pass. A frozen layer costs 2 × its forward pass, or 1 × if all layers before it are "
    "frozen too. Exact: the operations that autograd runs, with the “math” backend of attention. "
    "Executed: exact, plus the scores that fused attention kernels compute again in the backward "
    "pass. None of them includes the cost of the strategy's decisions, which has a column of its "
    "own (Deciding)."
)
MEMORY = (
    "Saved + state: peak of the bytes that autograd saves for the backward pass, plus peak of the "
    "bytes of parameters, gradients and optimizer state. This sum does not depend on the memory "
    "allocator. CUDA: peak of the bytes allocated by PyTorch's CUDA allocator."
)
ENERGY = (
    "Energy: joules of the device that trains (the GPU, or else the CPU packages) from the first "
    "to the last step. In parentheses: power of the idle device just before the first step, which "
    "is not subtracted. “–” means that the energy of a run is unknown, or that the runs used "
    "different devices. The energy is unknown if the run shared its device, used several "
    "processes or was measured by an earlier release. It is also unknown if the machine has no "
    "counter that the process may read."
)
DETECTABLE = (
    "Detectable: the smallest true difference that a two-sided test at 5 % finds with "
    f"{100 * POWER:g} % power, given the width of the interval. It is not corrected for the number "
    "of comparisons."
)
TEST_DRAW = (
    "The interval covers the seeds and the test draw, which is the choice of the test samples. It "
    "allows correlation between test samples of one source, such as a digit or a font. It is the "
    "widest of three intervals. The first uses the spread over seeds. The second adds the "
    "covariance of seeds that share test samples. The third uses the test draw alone."
)
VERDICT = (
    "Difference: accuracy (or another score) minus that of full training in points, paired by "
    f"seed and test sample, with a two-sided 95 % interval. {TEST_DRAW} Verdict: non-inferior if "
    f"the lower end of the interval is above −{MARGIN}, inferior if the upper end is below "
    f"−{MARGIN}. It is “{MARGIN_OPEN}” if the interval is below 0 and contains −{MARGIN}. "
    "Otherwise it is inconclusive. The verdicts of single pairs are not corrected for the number "
    f"of comparisons. With fewer than {LEAST} seeds (pooled: fewer than {LEAST} pairs), the "
    "verdict is inconclusive. It is never non-inferior while a run of the method or of full "
    "training has no "
    "result because it diverged, failed or is unfinished. “(4 of 5 seeds)” means that only four "
    "of five seeds have a result of both the method and full training. Pooled p values are not "
    "computed until all of these runs have results. Detectable: the smallest true difference that "
    f"a two-sided test at 5 % finds with {100 * POWER:g} % power, given the width of the interval."
)
SAVINGS = (
    "Savings are relative to full training of the same model and data. FLOPs saved: paper's "
    "convention (a layer that trains costs 3 × its forward pass, a frozen layer 2 ×, a layer of "
    "the frozen prefix 1 ×). Exact saved: the same with the FLOPs of the operations that autograd "
    "runs. The FLOPs of the strategy's decisions count as a cost of the method. Time saved: 1 − "
    "the geometric mean over the seeds of the time of the method divided by the time of full "
    "training. Realised: share of time saved divided by share of FLOPs saved (pooled: ratio of "
    "the mean shares). A value of 1 means that time and FLOPs are saved in equal proportion. It "
    f"is “–” if less than {100 * SMALLEST_SHARE:g} % of the FLOPs are saved. A saving counts as a "
    "speed-up only if the verdict is non-inferior."
)
REPLAYED = (
    "Replayed: time saved as estimated by `freezebench retime`. The command times a step of each "
    "freeze state alternately with a step of full training, so other load on the machine affects "
    "both alike. “–” means that `freezebench retime` was not run for these runs, or ran on another "
    "device. “(1 of 5)” means that only one of five finished runs was replayed."
)
POOLED = (
    "Pooled: each pair of model and data counts once, by its mean difference in percentage points, "
    "with a two-sided 95 % interval over the pairs. By model: the same over the models, where each "
    "counts with the mean over its data sets. The pairs of one model are not independent. The data "
    "sets are taken as fixed. The test draw counts once per data set, because the models share its "
    "samples. The verdict rests on both intervals: non-inferior if both lower ends are above "
    f"−{MARGIN}, inferior if both upper ends are below −{MARGIN}, “{MARGIN_OPEN}” if both are "
    f"below 0 and one contains −{MARGIN}, otherwise inconclusive. With fewer than {LEAST} pairs, "
    f"the verdict is inconclusive. With fewer than {LEAST} models, only the interval over the "
    "pairs is used, and the verdict is valid for these models only. Each p value is the larger "
    "one of two: of the test over the pairs and of the test over the models. Each column of p "
    "values is Holm-adjusted over all methods of this table. p (no worse) is one-sided for the "
    f"null hypothesis that the loss is {MARGIN} points or more. If it is below 0.025, the method "
    "is non-inferior even after the correction. p (different) is two-sided for the null hypothesis "
    "of no difference. Savings are mean shares relative to full training. Realised is the mean "
    "share of time saved divided by the mean share of FLOPs saved. It is reported only if the "
    "times of all pairs can be compared. We claim a speed-up only if a method is non-inferior and "
    "saves time, both significantly after Holm's correction. All runs must also have results, the "
    "times of all pairs must be comparable, and no run may have shared its CPU."
)


def describe_devices_and_predictor(cells: Sequence[Cell], profile: Profile) -> list[str]:
    """Return notes that name the devices of the runs and the predictor that they use."""
    made_on = frozenset().union(*(cell.devices for cell in cells))
    known = {name for name in made_on if not name.startswith(UNKNOWN)}
    unknown = len(made_on - known)
    devices = sorted(known) + [UNKNOWN + "s" * (unknown > 1)] * bool(unknown) or [profile.device]
    notes = [f"Device: {'; '.join(devices)}."] if devices != [""] else []
    if profile.predictor:
        notes.append(f"Predictor: {profile.predictor}.")
        notes += [profile.departures] * bool(profile.departures) + _note_known_data(cells, profile)
    return notes


def name_score(metrics: Collection[str]) -> str:
    """Return the heading of scores by these metrics; a loss gets no "%".

    metrics: "" stands for a run without a result.
    """
    if set(metrics) <= {"accuracy", ""}:
        return ACCURACY
    return SCORE if "loss" in metrics else PERCENT_SCORE


def describe_score(metrics: Collection[str]) -> list[str]:
    """Return a note on the meaning of the scores, or no note if all of them are accuracies."""
    meanings = [meaning for metric, meaning in MEANINGS.items() if metric in metrics]
    return [] if name_score(metrics) == ACCURACY else [f"Score: {'; or '.join(meanings)}."]


def _note_known_data(cells: Sequence[Cell], profile: Profile) -> list[str]:
    """Return a note for each data set that resembles the predictor's training data."""
    kinds = {source.partition(":")[0] for source in profile.sources}
    names = dict.fromkeys(cell.roles[1] for cell in cells)
    used = {name: profile.stands_for.get(profile.find_role(name), name) for name in names}
    return [
        f"SmartFRZ's predictor was trained on {', '.join(profile.sources)}, and the paper's on "
        f"ImageNet. {profile.format_name(name)} is of the same kind as the training data of our "
        "predictor, so it is not new to the predictor."
        for name in names
        if used[name].partition(":")[0] in kinds
    ]


def explain_marks(cells: Sequence[Cell]) -> list[str]:
    """Return a note for each mark (†, ‡, §, ¶) that the cells carry."""
    timed: dict[tuple[str, ...], frozenset[str]] = {}  # devices of the cells that are compared
    for cell in cells:
        timed[cell.roles[:-1]] = timed.get(cell.roles[:-1], frozenset()) | cell.devices
    notes = []
    if any(cell.diverged for cell in cells):
        notes.append(f"{DIVERGED_MARK} a seed diverged. Means are over the finished seeds only.")
    if any(cell.resumed for cell in cells):
        notes.append(
            f"{RESUMED_MARK} a run was interrupted and resumed. Its time is the sum of its parts. "
            "Work repeated after the interruption counts once."
        )
    if any(cell.slowed for cell in cells):
        slowed, finished = sum(cell.slowed for cell in cells), sum(cell.n for cell in cells)
        notes.append(
            f"{SLOWED_MARK} {slowed} of {finished} runs probably shared a CPU with another "
            f"process, because wall time was above {SLOWED:g} × CPU time per thread. (With several "
            "threads, idle threads raise this ratio too.) Such times are unreliable, so we claim "
            "no speed-up from them."
        )
    if any(len(devices) > 1 for devices in timed.values()):
        notes.append(
            f"{DEVICES_MARK} runs used different devices, so their times are not compared."
        )
    return notes


def list_failures(cells: Sequence[Cell], profile: Profile) -> list[str]:
    """Return a line for each diverged or failed run, and a line for runs without a result yet.

    At most LISTED diverged or failed runs are named. One line counts the remaining ones.
    """
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
        rest = len(ended) - LISTED
        lines.append(f"{rest} more run{'s' * (rest > 1)} diverged or failed")
    absent = sum(cell.wanted - cell.n for cell in cells) - len(ended)
    if absent:
        have = "has" if absent == 1 else "have"
        lines.append(f"{absent} of {sum(cell.wanted for cell in cells)} runs {have} no result yet")
    return [f"{line[0].upper()}{line[1:]}." for line in lines]


def format_marks(
    cell: Cell, timed: bool = False, compared_devices: frozenset[str] = frozenset()
) -> str:
    """Return the marks of a cell's mean, or of its mean time if `timed`.

    compared_devices: devices of the cells with which the cell is compared.
    """
    words = DIVERGED_MARK * bool(cell.diverged)
    if timed:
        words += RESUMED_MARK * bool(cell.resumed) + DEVICES_MARK * (
            len(cell.devices | compared_devices) > 1
        )
        words += SLOWED_MARK * bool(cell.slowed)
    return f" {words}" if words else ""


def format_seed_count(cell: Cell) -> str:
    """Return a text such as "4 of 5 (1 diverged)": finished, wanted, diverged or failed runs."""
    lost = [f"{count} {word}" for count, word in
            ((cell.diverged, DIVERGED), (cell.failed, FAILED)) if count]  # fmt: skip
    return f"{cell.n} of {cell.wanted}" + (f" ({', '.join(lost)})" if lost else "")
