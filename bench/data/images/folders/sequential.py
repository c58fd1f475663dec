"""Sequential reading of tar shards through the webdataset library.

The seed determines the order of the shards in each epoch. Samples pass through a buffer, from which
the seed draws them at random. A disk or a network can therefore read each shard from its first byte
to its last. Samples that are far apart in the reading order are rarely in the same batch. The main
process reads, and worker processes decode, so the number of workers does not change a pixel.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from bench.data.images.image_folder import explain_errors
from bench.data.images.shards.shard_files import find_shards
from bench.data.images.shards.tar_shards import LoadedMember, TarMember, split_name
from bench.data.images.streaming import Decoder, ImageStream
from bench.errors import UserError
from bench.seeds import derive_seed

BUFFER = 4096  # samples in the buffer; at 110 kB each, as in ImageNet, 0.45 GB


@dataclass(frozen=True)
class _Sample:
    """Image with its label and its index in the training part."""

    image: LoadedMember
    label: int
    index: int


class SequentialStream(ImageStream):
    """Stream of tar shards whose training images are read in the order of the shards.

    Raises UserError if the folder has no shards, or if the webdataset library is not installed.
    """

    def __init__(self, root: Path, **how: Any) -> None:
        with explain_errors():
            self._shards = [str(shard) for shard in find_shards(root, "train")]
        if not self._shards:
            raise UserError(
                f"{root}: sequential reads tar shards, but there are none of the training images; "
                "set sequential = false"
            )
        _import_webdataset()
        super().__init__(root, **how)
        self._index = {
            split_name(member.name)[0]: number
            for number, member in enumerate(self._train.paths)
            if isinstance(member, TarMember)
        }

    def training(
        self,
        order: Tensor,
        batch_size: int,
        *,
        seed: int,
        epoch: int,
        start: int = 0,
        augment: str = "standard",
        share: Callable[[int], slice] = slice,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return an iterator over the batches of an epoch, as `ImageStream.training` does.

        order: only its length is used, which is the number of samples in the epoch.
        start: the batches before this one are read and dropped.
        """
        samples = islice(self._read(seed, epoch), len(order))
        batches = (batch[share(len(batch))] for batch in _gather(samples, batch_size))
        decoded = _DecodedSamples(self._choose_decoder(augment, seed, epoch))
        with torch.random.fork_rng(devices=[], enabled=start > 0):  # as in ImageStream.training
            return self._load(decoded, islice(batches, start, None))

    def _read(self, seed: int, epoch: int) -> Iterator[_Sample]:
        """Yield the samples of an epoch, except held-out samples and those beyond a train limit."""
        draw = random.Random(derive_seed(seed, epoch, "shards"))
        shards = draw.sample(self._shards, len(self._shards))
        # No splitters: they would divide the shards among the workers and the processes of the run.
        pipeline = _import_webdataset().WebDataset(
            shards, shardshuffle=False, nodesplitter=None, workersplitter=None, empty_check=False,
            seed=0,
        )  # fmt: skip
        for sample in pipeline.shuffle(BUFFER, initial=BUFFER, rng=draw):
            index = self._index.get(sample["__key__"].removeprefix("./"))
            if index is not None:
                member = self._train.paths[index]
                assert isinstance(member, TarMember)
                content = sample.get(split_name(member.name)[1])
                if content is None:  # a label that is not next to its image comes as a sample
                    continue
                label = int(self._train.labels[index])
                yield _Sample(LoadedMember(member, content), label, index)


class _DecodedSamples(Dataset[tuple[Tensor, int] | UserError]):
    """Samples decoded by a function; the sampler passes the samples themselves, not indices."""

    def __init__(self, decode: Decoder) -> None:
        self._decode = decode

    def __getitem__(self, sample: Any) -> tuple[Tensor, int] | UserError:
        try:
            return self._decode(sample.image, sample.index), sample.label
        except UserError as error:
            return error


def _gather(samples: Iterator[_Sample], size: int) -> Iterator[list[_Sample]]:
    while batch := list(islice(samples, size)):
        yield batch


def _import_webdataset() -> Any:
    try:
        import webdataset
    except ImportError:
        raise UserError(
            "sequential needs the webdataset library; run `pip install 'freezebench[shards]'`, or "
            "set sequential = false"
        ) from None
    return webdataset
