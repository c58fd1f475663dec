"""Train every layer to the end: what all others are compared with."""

from __future__ import annotations

from bench.strategy_api.strategy import Strategy


class Full(Strategy):
    """Full training; nothing freezes."""

    name = "full"
