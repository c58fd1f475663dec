"""Comparison of random samples of a layer's values with all of its values."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Values = NDArray[np.float32]

TAILORED = 1024  # size of the weight sample per layer in the paper
SIZES = tuple(2**power for power in range(6, 13))
DRAWS = 200
BAND = (0.05, 0.95)
BINS = 41
INSIDE = 0.995  # share of the values inside the histogram; the rest are outliers


def measure_distances(values: Values) -> pd.DataFrame:
    """Return the distances between random samples and all values, one row per sample size.

    Columns: size, median, low and high. The distance of one sample is its Kolmogorov–Smirnov
    statistic. median, low and high are the median and the quantiles BAND over DRAWS samples.
    values: shape (n,).
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
    """Return the histograms of all values and of one sample of size TAILORED, one row per bin.

    Columns: low and high (edges of the bin), everything and sampled (shares of the values that are
    in the bin). All bins have the same width. `everything` is relative to the number of all values,
    and `sampled` to the size of the sample. Both numbers include values outside the bins.
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
    """Draw a sample of `size` values in the way SmartFRZ draws its tailored weights.

    The sample is drawn with replacement only if there are fewer values than `size`.
    """
    return random.choice(values, size, replace=len(values) < size, shuffle=False)


def compute_ks_distance(drawn: Values, everything: Values) -> float:
    """Return the two-sample Kolmogorov–Smirnov statistic of `drawn` and `everything`.

    `everything` must be sorted. scipy.stats.ks_2samp would sort it again for every sample.
    """
    steps = np.sort(drawn)
    gaps = [
        np.searchsorted(steps, steps, side) / len(steps)
        - np.searchsorted(everything, steps, side) / len(everything)
        for side in ("left", "right")
    ]
    # The largest gap is at a value of the sample: between two of them the sample's distribution
    # function is constant and the other one increases.
    return float(np.abs(gaps).max())
