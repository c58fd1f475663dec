"""Full training, with which all methods are compared."""

from __future__ import annotations

from strategies.base import Strategy


class Full(Strategy):
    """Full training: no layer freezes."""

    name = "full"
    look = ("#000000", "o")
    freezes = False
    costs_full_training = True
