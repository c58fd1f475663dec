"""Strategy for tests whose learning rates depend on the process, which is not allowed."""

import os
from collections.abc import Sequence

from strategies.base import AtSteps, Cadence, Decision, Strategy, View


class OfItsOwnMind(Strategy):
    """Strategy whose learning rates depend on the process id. It freezes layer 0 at step 4."""

    name = "of_its_own_mind"
    sets_learning_rates = True

    def learning_rates(self, view: View) -> Sequence[float]:
        return [view.lr * (1 + os.getpid() % 97 / 1000) for _ in view.layers]

    def stages(self) -> Cadence:
        return AtSteps(frozenset({4}))

    def decide(self, view: View) -> Sequence[Decision]:
        return [Decision(0, freeze=True)]
