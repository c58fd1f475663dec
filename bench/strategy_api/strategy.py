"""Base class of strategies and the verdicts they return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

from bench.errors import UserError
from bench.options import Option, check_options
from bench.strategy_api.cadence import Cadence, Never
from bench.strategy_api.view import View


@dataclass(frozen=True)
class Verdict:
    """What a strategy says of one layer at one stage, with the figures behind it.

    score and threshold are the strategy's own; freeze=False thaws a frozen layer.
    """

    layer: int
    freeze: bool
    score: float = float("nan")
    threshold: float = float("nan")


class Strategy:
    """Decides which layers freeze, and when.

    Class attributes are its documentation and its interface:
    name: what messages and the command line call it.
    options: its parameters, declared with defaults and ranges; each becomes an attribute, and has
    none of the names below.
    sets_learning_rates: it gives every layer a learning rate of its own (`learning_rates`).
    needs_reference: it wants a fully trained model of the same task (`view.artifacts`).
    matches: it trains on a budget, if one is given by `match` or its `saving` option.
    look: its colour and matplotlib marker in figures; without one it gets a spare look.
    is_control: it is compared with the methods and never named as the best of them.
    freezes: it may freeze layers, so that figures of freezing moments show it.
    costs_full_training: it costs what full training costs, so that a plan knows its price.
    Plans and reports read the last four of built-in strategies, as literals, without an import.
    """

    name: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Option]] = {}
    sets_learning_rates: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False
    matches: ClassVar[bool] = False
    look: ClassVar[tuple[str, str] | None] = None
    is_control: ClassVar[bool] = False
    freezes: ClassVar[bool] = True
    costs_full_training: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        for key, option in cls.options.items():
            if hasattr(Strategy, key):
                raise UserError(
                    f"{cls.__name__}: option {key} is a method's name; call it otherwise"
                )
            if not isinstance(option, Option):
                raise UserError(
                    f"{cls.__name__}: option {key} is {option!r}; declare it as an Integer, Real, "
                    "Choice, Flag or Text"
                )

    def __init__(self, **options: Any) -> None:
        """Take the options; raises UserError for one that is not declared or out of range."""
        for key, value in check_options(f"strategy {self.name}", self.options, options).items():
            setattr(self, key, value)

    def files(self, profile: str) -> Mapping[str, Path]:
        """Files it reads, by what they are ("predictor"); their contents enter the run's id.

        `view.artifacts` holds them during the run, or what the user gave in their place.
        """
        return {}

    def total_steps(self, view: View) -> int:
        """How long to train, in steps, asked before `start`; `view.budget` may bound it."""
        return view.total_steps

    def start(self, view: View) -> None:
        """Called once before training, when the model and its layers are known."""

    def observations(self) -> Cadence:
        """After which steps `observe` is called."""
        return Never()

    def observe(self, view: View) -> None:
        """Look at gradients and weights right after a step. Must not wait for the device."""

    def stages(self) -> Cadence:
        """After which steps `decide` is called; step 0 is before training."""
        return Never()

    def decide(self, view: View) -> Sequence[Verdict]:
        """Judge layers at a freezing stage. Layers without a verdict stay as they are."""
        return ()

    def learning_rates(self, view: View) -> Sequence[float]:
        """Learning rate of every layer at this step (`sets_learning_rates` only)."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """All that changes during a run, so that a killed run goes on with the same bits."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave. Called after `start`."""

    def cost(self) -> float:
        """FLOPs spent on deciding so far: probes, references, predictor."""
        return 0.0

    def trace(self) -> dict[str, torch.Tensor]:
        """Recordings to be kept beside the results (histories, curves)."""
        return {}
