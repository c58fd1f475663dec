"""Recordings of runs of the strategy `record`: CKA curves of the layers, and one gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from bench.errors import UserError
from bench.files import get_utf8_path, read_json
from reports.runs.run_table import DONE, Run

SETTLED = 0.01  # maximum range of CKA from an epoch to the end at which a curve has settled


@dataclass(frozen=True)
class Gradient:
    """Gradient of a layer's weight tensor at one step.

    layer, name: index and name of the layer.
    values: the gradient, flattened to shape (n,).
    """

    layer: int
    name: str
    values: NDArray[np.float32]


def read_curves(frame: pd.DataFrame, results: Path) -> pd.DataFrame:
    """Return CKA with the reference, one row per finished run, layer and CKA probe.

    A CKA probe is one measurement of CKA during a run. The head is left out. Columns: id, layer,
    name, depth (0 for the first layer, 1 for the last), epoch, cka (unbiased), cka_biased (eq. 5 of
    SmartFRZ). Raises UserError if a run has no CKA recording.
    """
    parts = []
    for run, path, result in _iterate_finished(frame, results):
        cka, biased, probes = (_read_tensor(path, key) for key in ("cka", "cka_biased", "probes"))
        names = [layer["name"] for layer in result["layers"]][: cka.shape[1]]
        count, layers = len(probes), np.arange(len(names))
        parts.append(
            pd.DataFrame(
                {
                    "id": run["id"],
                    "layer": layers.repeat(count),
                    "name": np.repeat(names, count),
                    "depth": (layers / max(1, len(names) - 1)).repeat(count),
                    "epoch": np.tile(probes * run["steps"] / run["steps_per_epoch"], len(names)),
                    "cka": cka.T.ravel(),
                    "cka_biased": biased.T.ravel(),
                }
            )
        )
    columns = ["id", "layer", "name", "depth", "epoch", "cka", "cka_biased"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def read_gradients(frame: pd.DataFrame, results: Path) -> dict[str, Gradient]:
    """Return the gradient that each finished run recorded, by run id.

    Raises UserError if a run has no recorded gradient.
    """
    kept = {}
    for run, path, result in _iterate_finished(frame, results):
        layer = int(_read_tensor(path, "gradient_layer"))
        name = result["layers"][layer]["name"]
        kept[run["id"]] = Gradient(layer, name, _read_tensor(path, "gradient"))
    return kept


def find_settled_epoch(curve: pd.DataFrame) -> float:
    """Return the epoch from which one layer's CKA varies by at most SETTLED until the end.

    The result is NaN if only the last CKA probe satisfies this, because a single value has no
    variation. If the value of a CKA probe is NaN, the curve can settle only after that probe.
    """
    values, epochs = curve.cka.to_numpy(), curve.epoch.to_numpy()
    for i in range(len(values) - 1):
        if np.ptp(values[i:]) <= SETTLED:
            return float(epochs[i])
    return float("nan")


def _iterate_finished(
    frame: pd.DataFrame, results: Path
) -> Iterator[tuple[Run, Path, dict[str, Any]]]:
    """Yield each finished run with the path of its recording and its result."""
    for run in frame[frame.state == DONE].to_dict("records"):
        folder = results / "runs" / str(run["id"])
        yield (
            {str(key): value for key, value in run.items()},
            folder / "trace.safetensors",
            read_json(folder / "result.json"),
        )


def _read_tensor(path: Path, key: str) -> NDArray[Any]:
    """Return one tensor of a recording.

    Raises UserError if the file does not exist, cannot be read or has no such tensor.
    """
    needed = "figures 3 and 4 need runs of strategy `record` with the option gradient = true"
    if not path.exists():
        raise UserError(f"{path} does not exist; {needed}")
    try:
        with get_utf8_path(path) as place, safe_open(place, "numpy") as recording:
            names = recording.keys()
            if key in names:
                tensor: NDArray[Any] = recording.get_tensor(key)
                return tensor
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); delete its folder to run it again"
        ) from None
    raise UserError(f"{path} has no tensor {key}; {needed}")
