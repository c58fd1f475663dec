"""Freezing of layers in a plain PyTorch training loop."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_map_only

from bench.errors import UserError
from bench.layers.discovery import Layer
from bench.layers.freezing import Freezer
from bench.own_training.frozen_guard import FrozenGuard
from bench.own_training.inputs import Example
from bench.own_training.numbers import read_count, read_loss, read_rate, read_seed
from bench.own_training.optimizer_check import (
    check_groups,
    check_optimizer,
    group_by_layer,
    unwrap_optimizer,
)
from bench.own_training.optimizer_watch import LayerRates, OptimizerWatch, find_base_lr
from bench.own_training.probe import Loss, ProbeSamples
from bench.own_training.report import FreezingReport, make_report
from bench.own_training.saved_state import check_state, describe_training
from bench.own_training.strategy_needs import find_files, make_strategy, refuse_own_length
from bench.own_training.subject import analyze
from bench.strategy_api.output_checks import check_late_answers, check_plain, read_cost
from bench.strategy_api.strategy import Strategy
from bench.strategy_api.view import View
from bench.training.freezing_stage import (
    apply_decisions,
    ask_strategy,
    is_stage_due,
    make_decision_lines,
)

PAST_THE_END = (
    "Freezing: the training goes on after total_steps; report and frozen layers stay as they are"
)


class Freezing:
    """Freezing strategy in your own training loop.

        freezing = Freezing(model, optimizer, example=images, total_steps=900, steps_per_epoch=90)
        for images, labels in batches:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            freezing.step(loss, samples=len(labels))
        print(freezing.report())

    The strategy decides as in a run of freezebench. Make this object after the optimizer.

    Args:
        model: the model on its device, neither compiled nor wrapped, with all layers trainable.
        optimizer: any optimizer of PyTorch that skips parameters without a gradient. If the
            strategy sets learning rates, the groups must be those of `parameter_groups`.
        strategy: name, path/to/file.py:Class, or an instance of a Strategy.
        example: a batch of the model's inputs: a tensor, a tuple of tensors in the order of
            `forward`, or a dict of tensors. Layers and FLOPs are found with its first sample, on
            copies of the model.
        total_steps: number of optimizer steps of the training.
        steps_per_epoch: number of optimizer steps of an epoch.
        options: options of the strategy by name.
        seed: seed of the strategy's random choices.
        files: paths of files that the strategy reads, by role: "predictor" (smartfrz), "reference".
        probe: (inputs, labels) of training samples without augmentation, on any device, for
            strategies that use samples. Labels may be None if the strategy takes no gradients.
        loss: function that returns the loss for (output, labels), for gradients on the probe.
        base_lr: largest learning rate of the first parameter group. By default, it is read from
            the group: `max_lr` (OneCycleLR sets it), or else `initial_lr` (all schedulers of
            PyTorch set it), or else `lr`.

    Raises UserError for anything that is not supported.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Any,
        strategy: str | Strategy = "smartfrz",
        *,
        example: Example,
        total_steps: int,
        steps_per_epoch: int,
        options: Mapping[str, Any] | None = None,
        seed: int = 0,
        files: Mapping[str, str | Path] | None = None,
        probe: tuple[Example, Tensor | None] | None = None,
        loss: Loss = F.cross_entropy,
        base_lr: float | None = None,
    ) -> None:
        total_steps = read_count("total_steps", total_steps)
        steps_per_epoch = read_count("steps_per_epoch", steps_per_epoch)
        self._strategy = make_strategy(strategy, options or {})
        self._named = self._strategy.name or type(self._strategy).__name__
        sampled = ProbeSamples(model, self._strategy, self._named, probe, example, loss)
        self._subject = analyze(model, example)
        self._prepare_optimizer(model, unwrap_optimizer(optimizer))
        self._guard = FrozenGuard(model, self.layers)
        flops = self._subject.count_flops()
        self._accounting = self._subject.make_accounting(
            flops, total_steps, self._strategy.switches_often
        )
        first = self._optimizer.param_groups[0]
        self._view = View(
            layers=self.layers,
            flops=flops,
            seed=read_seed(seed),
            device=self._subject.device,
            base_lr=find_base_lr(first) if base_lr is None else read_rate(base_lr),
            total_steps=total_steps,
            steps_per_epoch=steps_per_epoch,
            samples_per_step=self._subject.samples,
            budget=None,
            artifacts=find_files(self._strategy, self._named, files or {}),
            task=("", ""),
            _model=self._subject.net,
            _probe=sampled.take,
            _probe_loss=sampled.compute_loss,
        )
        self._described = describe_training(self._strategy, self._named, self._view)
        self._frozen_at: dict[int, int] = {}
        self._decisions: list[dict[str, Any]] = []
        try:
            self._start()
        except BaseException:  # also Ctrl-C: the caller gets no object to release
            self.release()
            raise

    @staticmethod
    def parameter_groups(model: nn.Module, example: Example) -> list[dict[str, Any]]:
        """Return parameter groups for an optimizer, one per layer: `params` and `name`.

        Strategies that set a learning rate for each layer need them (linear, auto_rgn).
        """
        return group_by_layer(model, analyze(model, example).layers)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers of the model in forward order; the last one is the head."""
        return self._subject.layers

    @property
    def frozen(self) -> frozenset[int]:
        """Indices of the layers that are frozen now."""
        return self._freezer.frozen

    @property
    def decisions(self) -> list[dict[str, Any]]:
        """Decisions so far, in the format of decisions.jsonl (bench.results.decisions)."""
        return list(self._decisions)

    def step(self, loss: Tensor | float | None = None, samples: int | None = None) -> None:
        """Let the strategy look at the step that has just ended, and freeze and thaw layers.

        Call it after `optimizer.step()`, and before gradients are cleared. The call waits for the
        device in the strategy's own work, after a frozen tensor was written or replaced, and in the
        last step. Other steps do not wait if `loss` is on the device.

        Args:
            loss: training loss of the step; some strategies need it.
            samples: number of training samples of the step, for the FLOPs of the report; default:
                as many as in `example`.

        Raises UserError if gradients were cleared, or if the strategy needs the loss and `loss` is
        None. Raises UserError if something else changed frozen layers or learning rates that the
        strategy sets.
        """
        view = self._view
        if view.step >= view.total_steps:
            warnings.warn(PAST_THE_END, stacklevel=2)
            return
        if loss is None and self._strategy.needs_loss:
            raise UserError(
                f"Freezing: strategy {self._named} reads the training loss; call step(loss)"
            )
        given = self._subject.samples if samples is None else read_count("samples", samples)
        if loss is not None:
            view.loss = read_loss(loss, view.device)
        self._watch.check_gradients()
        self._guard.check(view.step)
        self._accounting.begin_step()
        self._accounting.end_step(given, self._subject.size)
        if not self._rates:
            view.lr = self._watch.get_rate(view.base_lr)
        view.step += 1
        if self._strategy.observations().due(view.step, view.steps_per_epoch):
            with view.forbid_changes(self._named, "observe"):
                self._strategy.observe(view)
        self._run_stage()
        if view.step == view.total_steps:
            self._guard.check_bits(view.step)
        elif self._rates:
            self._rates.set_next(self._strategy, self._named, view)

    def report(self) -> FreezingReport:
        """Return a report on the frozen layers and on the FLOPs saved so far. Its text is a table.

        Raises UserError if a frozen tensor changed its bits during training.
        """
        if self._view.step < self._view.total_steps:  # the last step has checked them
            self._guard.check_bits(self._view.step)
        cost = read_cost(self._named, self._strategy.cost())
        return make_report(
            self._named, self._view, self._accounting, self._frozen_at, self._decisions, cost
        )

    def release(self) -> None:
        """Unfreeze all layers, and remove the hook from the optimizer. Call it after training.

        BatchNorm and dropout then follow `model.train()` again. `report()` still works.
        """
        self._guard.watch(frozenset())
        self._freezer.thaw(self._freezer.frozen)
        self._watch.close()

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as tensors and plain values, to save with model and optimizer."""
        own = self._strategy.state_dict()
        check_plain(own, "state_dict()", f"strategy {self._named}: ")
        # Later steps write to some of these tensors, and a caller may keep the state in memory.
        own = tree_map_only(Tensor, lambda tensor: tensor.detach().clone(), own)
        return self._described | {
            "step": self._view.step,
            "lr": self._view.lr,
            "loss": self._view.loss,
            "rates": self._rates.rates if self._rates else [],
            "frozen": sorted(self.frozen),
            "frozen_at": dict(self._frozen_at),
            "accounting": self._accounting.state_dict(),
            "decisions": list(self._decisions),
            "strategy_state": own,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state from `state_dict`, in an object that was made with the same arguments.

        Load the model and the optimizer first. Raises UserError if the state does not fit.
        """
        check_state(state, self._described)
        view, frozen = self._view, frozenset(state["frozen"])
        self._watch.restore_state()
        self._freezer.thaw(self.frozen - frozen)
        self._freezer.freeze(frozen)
        # A file may have been read to another device, as Lightning does.
        own = tree_map_only(Tensor, lambda tensor: tensor.to(view.device), state["strategy_state"])
        self._strategy.load_state_dict(own)
        view.step, view.lr, view.frozen = state["step"], state["lr"], self._freezer.frozen
        view.loss, self._watch.lr = state["loss"].to(view.device), state["lr"]
        self._frozen_at, self._decisions = dict(state["frozen_at"]), list(state["decisions"])
        self._accounting.load_state_dict(state["accounting"], view.frozen)
        self._guard.watch(frozenset())
        self._guard.watch(view.frozen)
        if self._rates:
            self._rates.restore(state["rates"])

    def _prepare_optimizer(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        keep_state = self._strategy.keeps_optimizer_state
        by_layer = self._named if self._strategy.sets_learning_rates else ""
        groups = check_groups(optimizer, model, self.layers, by_layer)
        check_optimizer(optimizer, keep_state)
        self._optimizer = optimizer
        self._freezer = Freezer(model, optimizer, self.layers, keep_state)
        self._watch = OptimizerWatch(optimizer)
        self._rates = LayerRates(optimizer, groups) if by_layer else None

    def _start(self) -> None:
        """Start the strategy, and run the freezing stage before the first step."""
        view, strategy = self._view, self._strategy
        refuse_own_length(strategy, self._named, view)
        with view.forbid_changes(self._named, "start"):
            strategy.start(view)
        check_late_answers(strategy, self._named)
        self._accounting.enter_state(0, self.frozen)
        self._run_stage()
        if self._rates:
            self._rates.set_next(strategy, self._named, view)

    def _run_stage(self) -> None:
        """Ask for decisions if a stage is due. After the last step, only record them."""
        view = self._view
        if not is_stage_due(self._strategy, view):
            return
        with view.forbid_changes(self._named, "decide"):
            decisions = ask_strategy(self._strategy, self._named, view)
        if view.step < view.total_steps and apply_decisions(
            view, self._freezer, self._frozen_at, decisions, "Freezing"
        ):
            self._accounting.enter_state(view.step, view.frozen)
            self._guard.watch(view.frozen)
        self._decisions += make_decision_lines(self._strategy, view, decisions)
