"""Train every layer to the end: what all others are compared with."""

from __future__ import annotations

from strategies.base import Strategy


class Full(Strategy):
    """Full training: no layer freezes."""

    name = "full"
    look = ("#000000", "o")
    freezes = False
    costs_full_training = True
