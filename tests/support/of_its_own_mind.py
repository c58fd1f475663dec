"""A strategy for tests: it depends on the process it runs in, which no strategy may."""

import os

from strategies.base import AtSteps, Strategy, Verdict


class OfItsOwnMind(Strategy):
    """Trains at another rate in each process, then freezes the first layer after step 4."""

    name = "of_its_own_mind"
    sets_learning_rates = True

    def learning_rates(self, view):
        return [view.lr * (1 + os.getpid() % 97 / 1000) for _ in view.layers]

    def stages(self):
        return AtSteps(frozenset({4}))

    def decide(self, view):
        return [Verdict(0, freeze=True)]
