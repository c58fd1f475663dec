"""Example of a strategy: freeze the first half of the layers after some epochs."""

from strategies.base import Decision, Integer, PerEpoch, Strategy


class EarlyHalf(Strategy):
    """Freeze the first half of the layers after some epochs."""

    name = "early_half"
    options = {"after": Integer(1, low=1, doc="epochs before the freeze")}

    def stages(self):
        """Decide once per epoch."""
        return PerEpoch(1)

    def decide(self, view):
        """Freeze the layers of the first half that are still training."""
        half = len(view.layers) // 2
        due = view.epoch >= self.after
        return [
            Decision(i, freeze=due, score=view.epoch, threshold=self.after)
            for i in view.active
            if i < half
        ]
