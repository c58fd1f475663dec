"""Search of learning rate, warm-up and weight decay on validation data, as a sweep.

Full training and the control `prefix` get the same grid, so the search favours neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from bench.errors import UserError
from bench.planning.sweep import Sweep, expand_sweep
from bench.planning.sweep_models import Grid, Method, SweepFile
from bench.spec import FULL

PREFIX = "prefix"
LR_FACTORS = (0.1, 0.3, 1.0, 3.0)  # default rates, relative to the rate of the profile
WARMUPS = (0.0, 0.1)
DECAY_FACTORS = (1.0, 10.0)


@dataclass(frozen=True)
class TuningGrid:
    """Values to search; an empty tuple stands for default values.

    The default learning rates are multiples of the profile's rate. The default weight decays are
    multiples of the profile's weight decay, unless it is 0.
    """

    lr: tuple[float, ...] = ()
    warmup: tuple[float, ...] = ()
    weight_decay: tuple[float, ...] = ()


def make_tuning_sweep(
    model: str,
    dataset: str,
    profile_name: str,
    grid: TuningGrid,
    *,
    saving: float,
    seeds: int = 1,
    setting: str = "",
    files: Mapping[str, str] | None = None,
    changes: Mapping[str, Any] | None = None,
) -> Sweep:
    """Return the runs of a search for one model and data set of a profile.

    All runs are evaluated on validation data.
    saving: share of FLOPs that `prefix` saves.
    setting: setting of the profile, "" for none.
    files, changes: as for `load_sweep`.
    Raises UserError if the changes select the test set, and for an unknown role or invalid value.
    """
    given = dict(changes or {})
    if given.pop("evaluate_on", "validation") != "validation":
        raise UserError(
            "tune chooses settings, so it never reads the test set; remove --evaluate-on test"
        )
    if saving == 0:  # which prefix reads as no budget, and then freezes half of the layers
        raise UserError("tune: --saving 0 saves nothing; give a number above 0, at most 0.95")

    def expand(methods: list[Method]) -> Sweep:
        declared = SweepFile(
            title=f"Search of learning rate, warm-up and weight decay: {model}, {dataset}",
            grid=[Grid(models=[model], datasets=[dataset], seeds=list(range(seeds)))],
            methods=methods,
            set={"evaluate_on": "validation"},
        )
        if setting:
            declared = declared.model_copy(update={"setting": setting})
        return expand_sweep(declared, profile_name, "tune", files=files, changes=given)

    base = expand([Method(name=FULL)]).entries[0].spec
    decays = [base.weight_decay * by for by in DECAY_FACTORS] if base.weight_decay else [0.0, 1e-4]
    points = product(
        grid.lr or [_round(base.lr * by) for by in LR_FACTORS],
        grid.warmup or WARMUPS,
        grid.weight_decay or [_round(decay) for decay in decays],
    )
    names = ("lr", "warmup", "weight_decay")
    values = [dict(zip(names, point, strict=True)) for point in dict.fromkeys(points)]
    return expand(
        [
            Method(
                name=f"{strategy}, " + ", ".join(f"{k} {v!r}" for k, v in point.items()),
                strategy=strategy,
                options={"saving": saving} if strategy == PREFIX else {},
                set=point,
            )
            for strategy in (FULL, PREFIX)
            for point in values
        ]
    )


def _round(value: float) -> float:
    """Return a value with three significant digits, as a person would write it in a profile."""
    return float(f"{value:.3g}")
