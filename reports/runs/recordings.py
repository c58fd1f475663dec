"""What recorded runs kept: their layers' CKA curves, and one gradient of the largest layer."""

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
from bench.files import read_json
from reports.runs.run_table import DONE, Run

SETTLED = 0.01  # a curve has settled when it moves by no more than this to the end


@dataclass(frozen=True)
class Gradient:
    """One step's gradient of a layer's weight, flat; the layer's index and name."""

    layer: int
    name: str
    values: NDArray[np.float32]


def read_curves(frame: pd.DataFrame, results: Path) -> pd.DataFrame:
    """CKA with the reference, one row a finished run, layer (all but the head) and probe.

    Columns: id, layer, name, depth (0 the first, 1 the last), epoch, cka (unbiased), cka_biased
    (eq. 5). Raises UserError for a run that recorded none.
    """
    parts = []
    for run, path, result in _iterate_finished(frame, results):
        cka, biased, probes = (_read_tensor(path, key) for key in ("cka", "cka_biased", "probes"))
        names = [layer["name"] for layer in result["layers"]][: cka.shape[1]]
        moments, layers = len(probes), np.arange(len(names))
        parts.append(
            pd.DataFrame(
                {
                    "id": run["id"],
                    "layer": layers.repeat(moments),
                    "name": np.repeat(names, moments),
                    "depth": (layers / max(1, len(names) - 1)).repeat(moments),
                    "epoch": np.tile(probes * run["steps"] / run["steps_per_epoch"], len(names)),
                    "cka": cka.T.ravel(),
                    "cka_biased": biased.T.ravel(),
                }
            )
        )
    columns = ["id", "layer", "name", "depth", "epoch", "cka", "cka_biased"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def read_gradients(frame: pd.DataFrame, results: Path) -> dict[str, Gradient]:
    """The gradient that each finished run kept, by its id.

    Raises UserError for a run that recorded none.
    """
    kept = {}
    for run, path, result in _iterate_finished(frame, results):
        layer = int(_read_tensor(path, "gradient_layer"))
        name = result["layers"][layer]["name"]
        kept[run["id"]] = Gradient(layer, name, _read_tensor(path, "gradient"))
    return kept


def find_settled_epoch(curve: pd.DataFrame) -> float:
    """The epoch from which one layer's CKA moves by at most SETTLED to the end.

    NaN where that is the last probe, which says nothing, or where a later value is unknown.
    """
    values, epochs = curve.cka.to_numpy(), curve.epoch.to_numpy()
    for i in range(len(values) - 1):
        if np.ptp(values[i:]) <= SETTLED:
            return float(epochs[i])
    return float("nan")


def _iterate_finished(
    frame: pd.DataFrame, results: Path
) -> Iterator[tuple[Run, Path, dict[str, Any]]]:
    """Every run that is done, with the path of its recording and its result."""
    for run in frame[frame.state == DONE].to_dict("records"):
        folder = results / "runs" / str(run["id"])
        yield (
            {str(key): value for key, value in run.items()},
            folder / "trace.safetensors",
            read_json(folder / "result.json"),
        )


def _read_tensor(path: Path, key: str) -> NDArray[Any]:
    """One tensor of a recording; raises UserError if the file or the tensor is not there."""
    needed = "figures 3 and 4 need runs of strategy record with gradient = true"
    if not path.exists():
        raise UserError(f"{path} does not exist; {needed}")
    try:
        with safe_open(path, "numpy") as recording:
            names = recording.keys()
            if key in names:
                tensor: NDArray[Any] = recording.get_tensor(key)
                return tensor
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); delete its folder to run it again"
        ) from None
    raise UserError(f"{path} holds no {key}; {needed}")
