"""File evaluation.npz of a run, which says which evaluation samples were classified correctly.

Arrays of the file, compressed:

samples  number of evaluated samples N, (1,)
correct  one bit per sample, packed into ⌈N / 8⌉ bytes
truth    the true class, packed likewise, only if the metric needs two classes (Matthews)
sources  numbers of the k sources of each sample (N, k), in the smallest integer type; without this
         array every sample is a source of its own
losses   loss of each sample in nats, (N,) float32, only if the metric is the loss
fold     number of the split of the data set, (1,)

A sample is an image or a text. If words are predicted, a sample is a word, and its source is the
text. A source has the same number in all runs on a data set.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.data.interface.descriptor import hash_parts
from bench.errors import UserError
from bench.files import explain_errors, replace_atomically

FILE = "evaluation.npz"
OWN = 32  # bits for the number of a sample within its fold, if it is a source of its own


@dataclass(frozen=True, eq=False)
class SampleOutcomes:
    """Outcome of each evaluation sample of a run.

    correct: bool (N,).
    truth: the true classes, bool (N,), or None.
    sources: int64 (N, k) or None.
    fold: number of the split.
    losses: float32 (N,) or None.
    """

    correct: NDArray[np.bool_]
    truth: NDArray[np.bool_] | None
    sources: NDArray[np.int64] | None
    fold: int
    losses: NDArray[np.float32] | None = None

    def number_sources(self) -> NDArray[np.int64]:
        """Return the ids of each sample's sources, (N, k). No two folds share an id."""
        if self.sources is not None:
            return self.sources
        return (np.arange(len(self.correct), dtype=np.int64) + (self.fold << OWN))[:, None]

    def hash(self) -> str:
        """Return a hash of all outcomes and sources, independent of the compression."""
        parts = (self.correct, self.truth, self.number_sources(), self.losses)
        return hash_parts(b"" if part is None else part.tobytes() for part in parts)


def write_evaluation(folder: Path, evaluation: SampleOutcomes) -> None:
    """Write evaluation.npz of a run folder atomically."""
    arrays = {
        "samples": np.array([len(evaluation.correct)]),
        "correct": np.packbits(evaluation.correct),
        "fold": np.array([evaluation.fold]),
    }
    if evaluation.truth is not None:
        arrays["truth"] = np.packbits(evaluation.truth)
    if evaluation.losses is not None:
        arrays["losses"] = evaluation.losses
    if evaluation.sources is not None:
        smallest = np.min_scalar_type(int(evaluation.sources.max(initial=0)))
        arrays["sources"] = evaluation.sources.astype(smallest)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)  # without times, so bytes are equal
    with replace_atomically(folder / FILE) as temporary:
        temporary.write_bytes(buffer.getvalue())


def read_evaluation(folder: Path) -> SampleOutcomes:
    """Read evaluation.npz of a run folder. Raise UserError if it is missing or damaged."""
    path = folder / FILE
    try:
        with explain_errors(path):
            content = path.read_bytes()  # at once, because zipfile reads a file in 20 parts
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            samples = int(arrays["samples"][0])
            bits = {
                name: np.unpackbits(arrays[name], count=samples).astype(bool)
                for name in ("correct", "truth")
                if name in arrays
            }
            sources = arrays["sources"].astype(np.int64) if "sources" in arrays else None
            fold = int(arrays["fold"][0])
            if sources is not None and len(sources) != samples:
                raise ValueError(f"{len(sources)} sources for {samples} samples")
            losses = arrays["losses"].astype(np.float32) if "losses" in arrays else None
            if losses is not None and losses.shape != (samples,):
                raise ValueError(f"{len(losses)} losses for {samples} samples")
            return SampleOutcomes(bits["correct"], bits.get("truth"), sources, fold, losses)
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist, but intervals need the outcome of every evaluation sample; "
            "delete its folder to run it again"
        ) from None
    except (
        OSError,
        ValueError,
        KeyError,
        IndexError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise UserError(
            f"{path} cannot be read ({error}); delete its folder to run it again"
        ) from None
