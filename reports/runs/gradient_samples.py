"""How much a random sample of a layer's values resembles all of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Values = NDArray[np.float32]

TAILORED = 1024  # weights that stand for a layer in the paper
SIZES = tuple(2**power for power in range(6, 13))
DRAWS = 200
BAND = (0.05, 0.95)
BINS = 41
INSIDE = 0.995  # share of the values that the histogram spans; the others lie far out


def measure_distances(values: Values) -> pd.DataFrame:
    """How far samples lie from all values, one row a size of the sample.

    Columns: size; median, low, high (BAND) of the Kolmogorov–Smirnov statistic over DRAWS samples.
    """
    random, everything = np.random.default_rng(0), np.sort(values)
    rows = []
    for size in SIZES:
        drawn = [
            compute_ks_distance(draw_sample(values, size, random), everything) for _ in range(DRAWS)
        ]
        low, high = np.quantile(drawn, BAND)
        rows.append({"size": size, "median": float(np.median(drawn)), "low": low, "high": high})
    return pd.DataFrame(rows)


def build_histogram(values: Values) -> pd.DataFrame:
    """Shares of all values and of one sample of TAILORED of them, one row a bin of equal width.

    Columns: low, high (the bin's edges); everything, sampled. Shares count what lies outside too.
    """
    sizes = np.abs(values)
    reach = float(np.quantile(sizes, INSIDE) or sizes.max()) or 1.0
    edges = np.linspace(-reach, reach, BINS + 1)
    chosen = draw_sample(values, TAILORED, np.random.default_rng(0))
    return pd.DataFrame(
        {
            "low": edges[:-1],
            "high": edges[1:],
            "everything": np.histogram(values, edges)[0] / len(values),
            "sampled": np.histogram(chosen, edges)[0] / len(chosen),
        }
    )


def draw_sample(values: Values, size: int, random: np.random.Generator) -> Values:
    """Draw as tailoring does: without replacement, or with it from fewer values than `size`."""
    return random.choice(values, size, replace=len(values) < size, shuffle=False)


def compute_ks_distance(drawn: Values, everything: Values) -> float:
    """The two-sample Kolmogorov–Smirnov statistic; `everything` is sorted.

    scipy.stats.ks_2samp sorts a layer's values anew for every sample, which this does not.
    """
    steps = np.sort(drawn)
    gaps = [
        np.searchsorted(steps, steps, side) / len(steps)
        - np.searchsorted(everything, steps, side) / len(everything)
        for side in ("left", "right")
    ]
    # Between two values of the sample only one of the two functions moves, and only upwards.
    return float(np.abs(gaps).max())
