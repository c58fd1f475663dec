"""A strategy for tests: it depends on the process it runs in, which no strategy may."""

import os
from collections.abc import Sequence

from strategies.base import AtSteps, Cadence, Strategy, Verdict, View


class OfItsOwnMind(Strategy):
    """Trains at another rate in each process, then freezes the first layer after step 4."""

    name = "of_its_own_mind"
    sets_learning_rates = True

    def learning_rates(self, view: View) -> Sequence[float]:
        return [view.lr * (1 + os.getpid() % 97 / 1000) for _ in view.layers]

    def stages(self) -> Cadence:
        return AtSteps(frozenset({4}))

    def decide(self, view: View) -> Sequence[Verdict]:
        return [Verdict(0, freeze=True)]
