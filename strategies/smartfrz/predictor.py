"""Neural network that predicts whether a layer should freeze (SmartFRZ, sec. 3.3, appendix C)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HIDDEN = 256
KEY = 64
DECIDE = 32


class Predictor(nn.Module):
    """Attention from a layer's newest token over its window, followed by a freeze classifier.

    inputs: width of a token. If the token is 1,024 weights, this is the paper's network of
    1,037,122 parameters. All layers of a model form one batch.
    shift, scale: buffers (inputs,) that standardise a token to (token − shift) · scale. Their
    initial values 0 and 1 leave the token unchanged.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.mlp_k = _build_mlp(inputs, HIDDEN, KEY)
        self.mlp_q = _build_mlp(inputs, HIDDEN, KEY)
        self.mlp_v = _build_mlp(inputs, HIDDEN, KEY)
        self.mlp_z = _build_mlp(KEY, DECIDE, 2)
        self.register_buffer("shift", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))

    @property
    def inputs(self) -> int:
        """Width of a token."""
        return len(self.shift)

    def forward(self, tokens: Tensor, filled: Tensor) -> Tensor:
        """Return logits (B, 2) of [keep training, freeze] for windows of tokens (B, W, inputs).

        The newest token comes last.
        filled: bool (B, W), False where a history shorter than W has no token.
        """
        keys, values = self.encode(tokens)
        return self.attend(tokens[:, -1:], keys, values, filled[:, None])[:, 0]

    def encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys K and values V (..., 64) of tokens (..., inputs) by eq. 1 of SmartFRZ.

        K and V of a token depend on this token only.
        """
        tokens = (tokens - self.shift) * self.scale
        return self.mlp_k(tokens), self.mlp_v(tokens)

    def attend(self, newest: Tensor, keys: Tensor, values: Tensor, window: Tensor) -> Tensor:
        """Return logits (B, S, 2) at S moments of B histories of T tokens.

        Source: eqs. 1 to 4 of SmartFRZ. A moment is a time in a run at which one layer is
        classified.
        newest: newest token at each moment (B, S, inputs).
        keys, values: (B, T, 64), with tokens in any order.
        window: bool, broadcast to (B, S, T), True for the tokens in the window of each moment.
        """
        query = self.mlp_q((newest - self.shift) * self.scale)
        scores = query @ keys.transpose(1, 2)
        attention = scores.masked_fill(~window, -torch.inf).softmax(dim=2)
        logits: Tensor = self.mlp_z(attention @ values)
        return logits


def count_prediction_flops(inputs: int, window: int, fresh: int) -> float:
    """Return the FLOPs of one prediction for one layer.

    inputs: width of a token.
    window: number of tokens attended to.
    fresh: number of these tokens whose K and V are still to be computed.
    """
    mlp = 2.0 * (inputs * HIDDEN + HIDDEN * HIDDEN + HIDDEN * KEY)
    attention = 2.0 * 2 * window * KEY
    return (2 * fresh + 1) * mlp + attention + 2.0 * (KEY * DECIDE + DECIDE * DECIDE + DECIDE * 2)


def _build_mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    linears = [nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)]
    for linear in linears:
        if linear.weight.is_meta:
            continue  # weights will be loaded; initialising a meta tensor is slow and useless
        # With torch's default initialisation, signals fade over the six layers and the loss does
        # not fall for several epochs.
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
    return nn.Sequential(linears[0], nn.ReLU(), linears[1], nn.ReLU(), linears[2])
