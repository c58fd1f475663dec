"""Base class of strategies, and the decisions they return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from bench.errors import UserError
from bench.options import Option, check_options
from bench.strategy_api.cadence import Cadence, Never
from bench.strategy_api.view import View


@dataclass(frozen=True)
class Decision:
    """Decision of a strategy for one layer at one freezing stage.

    Attributes:
        layer: index of the layer.
        freeze: whether to freeze it; False thaws a frozen layer.
        score: number on which the strategy based its decision, in its own unit; only recorded.
        threshold: number with which it compared the score; only recorded.
    """

    layer: int
    freeze: bool
    score: float = float("nan")
    threshold: float = float("nan")


class Strategy:
    """Base class of strategies, which decide which layers freeze, and when.

    Plans and reports read some attributes of built-in strategies from the source, without an
    import. These attributes are `name`, `look`, `made_for`, `is_control`, `freezes` and
    `costs_full_training`. Their values must therefore be literals.

    Attributes:
        name: name in messages and on the command line.
        options: parameters with defaults and ranges. Each option becomes an attribute of the
            instance, so its name must differ from the attributes and methods of this class.
        sets_learning_rates: whether `learning_rates` sets the learning rate of every layer.
        needs_reference: whether it needs a reference, a fully trained model of the same task, in
            `view.artifacts`.
        needs_probe: "labels" if it calls `view.probe_gradients`, "inputs" if it calls only
            `view.probe`, otherwise "". A run of freezebench always provides samples and labels. A
            training loop of your own must provide those that the strategy needs.
        needs_loss: whether it reads `view.loss`. A run of freezebench always has a loss.
        keeps_optimizer_state: if true, a frozen layer keeps its momentum or AdamW's moments until
            it thaws, and they count as memory of the run. If false, they are deleted at the
            freeze, and those of a thawed layer start at zero.
        switches_often: whether it freezes and thaws every few steps. Freezing and thawing then do
            not wait for the device. decisions.jsonl holds one short line per freezing stage,
            without scores. The result lists the first 32 freeze states and adds up all further
            states. Options that prepare every freeze state anew are rejected: compiled,
            cache_prefix and fold_norms.
        matches: whether it can train within a FLOP budget. `match` in a sweep or the strategy's
            option `saving` sets this budget.
        look: colour and matplotlib marker in figures. A strategy without a look gets a spare look.
        made_for: kinds of model for which its authors made it (bench.models.kinds).
        is_control: whether it is a control, which is never reported as the best method.
        freezes: whether it may freeze layers. Plots of freezing steps leave out strategies that
            never do.
        costs_full_training: whether a run costs as much as full training. For other strategies, a
            plan marks its estimate as an upper bound.
    """

    name: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Option]] = {}
    sets_learning_rates: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False
    needs_probe: ClassVar[Literal["", "inputs", "labels"]] = ""
    needs_loss: ClassVar[bool] = False
    keeps_optimizer_state: ClassVar[bool] = False
    switches_often: ClassVar[bool] = False
    matches: ClassVar[bool] = False
    look: ClassVar[tuple[str, str] | None] = None
    made_for: ClassVar[tuple[str, ...]] = ()
    is_control: ClassVar[bool] = False
    freezes: ClassVar[bool] = True
    costs_full_training: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if not isinstance(cls.options, Mapping):
            raise UserError(
                f"{cls.__name__}: options is {cls.options!r}; declare options by name, for example "
                '{"every": Integer(2)}'
            )
        for key, option in cls.options.items():
            if hasattr(Strategy, key):
                raise UserError(
                    f"{cls.__name__}: option {key} is an attribute of Strategy; choose another name"
                )
            if not isinstance(option, Option):
                raise UserError(
                    f"{cls.__name__}: option {key} is {option!r}; declare it as Integer, Real, "
                    "Choice, Flag or Text, for example Integer(2)"
                )

    def __init__(self, **options: Any) -> None:
        """Set the options. Raises UserError for an undeclared option or a value out of range."""
        for key, value in check_options(f"strategy {self.name}", self.options, options).items():
            setattr(self, key, value)

    def files(self, profile: str) -> Mapping[str, Path]:
        """Return the files that the strategy reads, by role (for example "predictor").

        profile: name of the profile whose files are the default.
        The contents of the files are part of the run's id. During the run, `view.artifacts` holds
        their paths or the paths that the user passed instead.
        """
        return {}

    def check_files(self, paths: Mapping[str, Path]) -> None:
        """Raise UserError if a file that the user passed cannot be read.

        paths: these files by role; the roles are those of `files`. Called before a run or a sweep
        starts, so that a damaged file is refused at once and not in each run. In a sweep, one file
        may fit the options of some runs only, so `start` should check whether it fits.
        """

    def total_steps(self, view: View) -> int:
        """Return the number of training steps. Called before `start`.

        `view.total_steps` is the planned number. `view.budget` may require fewer steps.
        """
        return view.total_steps

    def start(self, view: View) -> None:
        """Prepare for training. Called before the first step of a run.

        When a run resumes, it is called again, before `load_state_dict`.
        """

    def observations(self) -> Cadence:
        """Return the steps after which `observe` is called, as a Cadence."""
        return Never()

    def observe(self, view: View) -> None:
        """Read gradients and weights after a step. Must not synchronise with the device."""

    def stages(self) -> Cadence:
        """Return the steps after which `decide` is called, as a Cadence.

        Step 0 is before training.
        """
        return Never()

    def decide(self, view: View) -> Sequence[Decision]:
        """Return a Decision for each layer to freeze or unfreeze at a freezing stage.

        Layers without a Decision keep their state. After the last step, decisions are recorded but
        not applied.
        """
        return ()

    def learning_rates(self, view: View) -> Sequence[float]:
        """Return the learning rate of every layer for the next step.

        Called only if `sets_learning_rates` is True. In the first `view.warmup_steps` steps, the
        run multiplies the returned rates by the warm-up factor. A schedule that falls should
        therefore start after these steps.
        """
        raise UserError(
            f"strategy {self.name or type(self).__name__}: sets_learning_rates is True, but the "
            "class has no learning_rates(view); define it"
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that changes during a run, as tensors and plain Python values.

        State that is missing in the result is lost on resume. The resumed run then differs from an
        uninterrupted run.
        """
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned. Called after `start`."""

    def cost(self) -> float:
        """Return the FLOPs spent on decisions so far: probes, reference, predictor."""
        return 0.0

    def trace(self) -> dict[str, torch.Tensor]:
        """Return recordings by name (histories, curves), which go into trace.safetensors."""
        return {}
