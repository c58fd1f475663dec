"""Note on AutoFreeze runs whose intervals hold few steps."""

from __future__ import annotations

from collections.abc import Sequence

from reports.document.profile import Profile
from reports.runs.cells import Cell

FEW = 50  # steps
METHOD = "autofreeze"  # name of the strategy, and of the method with its default options
ONCE = f"{METHOD}, M=1"  # name of the method with one interval per epoch
AUTHORS_STEPS = 833  # 25,000 reviews of IMDb in batches of 6, 20 intervals in 4 epochs


def describe_short_intervals(
    cells: Sequence[Cell], profile: Profile, has_control: bool = False
) -> list[str]:
    """Return a note if an interval of AutoFreeze holds fewer than FEW steps, otherwise nothing.

    The note lists the number of steps in these intervals by method and data set. The steps per
    epoch come from finished runs.
    has_control: whether the option `--controls` adds the method ONCE to this table. If so, and if
    the table does not show this method yet, the note mentions the option.
    """
    short: dict[str, dict[str, str]] = {}
    for cell in cells:
        _, dataset, method = cell.roles
        for run in cell.finished:
            if run.get("strategy") == METHOD:
                steps = run["steps_per_epoch"] / run["options"]["M"]
                if steps < FEW:
                    name = profile.format_name(dataset)
                    short.setdefault(method, {})[name] = f"{steps:.3g} on {name}"
    if not short:
        return []
    listed = "; ".join(f"{method}: {', '.join(each.values())}" for method, each in short.items())
    note = (
        f"AutoFreeze: an interval holds fewer than {FEW} steps in these rows ({listed}). An "
        "interval is the time between two decisions. AutoFreeze compares the gradients summed over "
        "intervals, and sums over few steps also differ by chance. In the example of its authors, "
        f"on IMDb, an interval holds {AUTHORS_STEPS} steps."
    )
    if has_control and all(cell.roles[2] != ONCE for cell in cells):
        note += f" With --controls, the row “{ONCE}” shows one interval per epoch."
    return [note]
