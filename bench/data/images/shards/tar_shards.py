"""Tar shards in the layout of the webdataset library, read by index.

A sample consists of an image and a label. Their names are equal up to the first dot of the file
name, for example n01440764/n01440764_18.jpg and n01440764/n01440764_18.cls. The label is a whole
number from 0. Images keep the order of an image folder (class, then name). Therefore neither the
order of the samples in the shards nor the number of shards changes a run.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from bench.errors import UserError

LABEL = "cls"


@dataclass(frozen=True, slots=True)
class TarMember:
    """File in a tar archive.

    name: its path in the archive.
    place: its path in an image folder of the same data set, train/CLASS/NAME.
    start: position of its first byte in the archive.
    size: in bytes.
    """

    shard: Path
    name: str
    place: str
    start: int
    size: int

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open the file for reading."""
        return io.BufferedReader(_Slice(self.shard, self.start, self.size))

    def read_bytes(self) -> bytes:
        """Return the content of the file."""
        with self.open() as file:
            return file.read()

    @property
    def suffix(self) -> str:
        """Extension of the name, as of a path."""
        return PurePosixPath(self.name).suffix

    def __str__(self) -> str:
        return f"{self.shard}: {self.name}"


@dataclass(frozen=True, slots=True)
class LoadedMember:
    """Member of a tar archive with its content, read sequentially."""

    member: TarMember
    content: bytes

    def open(self, mode: str = "rb") -> BinaryIO:
        """Open the content for reading."""
        return io.BytesIO(self.content)

    def __str__(self) -> str:
        return str(self.member)


class _Slice(io.RawIOBase):
    """Part of a file from byte `start` on, readable like a file."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size = path.open("rb", buffering=0), start, size
        self._file.seek(start)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self._size}[whence]
        return self._file.seek(self._start + max(0, base + offset)) - self._start

    # typeshed declares a buffer type that Python 3.11 cannot name.
    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        left = max(0, self._size - self.tell())
        return self._file.readinto(memoryview(buffer)[:left]) or 0

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


@dataclass(frozen=True)
class Samples:
    """Images of one split: class names in label order, members, and their labels."""

    classes: tuple[str, ...]
    members: tuple[TarMember, ...]
    labels: tuple[int, ...]


def list_samples(
    shards: Sequence[Path],
    split: str,
    suffixes: Sequence[str],
    classes: Sequence[str] | None = None,
) -> Samples:
    """List the samples of the shards of a split, ordered by class and then by name.

    suffixes: extensions of images.
    classes: class names of the training split; by default, the names found in these shards.
    Folders name the classes if each class has its own folder, and if the folders in alphabetical
    order follow the order of the labels. Otherwise the name of a class is its label.
    Raises UserError for a damaged shard, for shards without samples, and for a sample that lacks an
    image or a label. Raises UserError for a duplicate sample, for a missing class, and for a label
    that contradicts the folder of its sample.
    """
    facts = [shard.stat() for shard in shards]
    state = tuple((fact.st_size, fact.st_mtime_ns) for fact in facts)
    known = tuple(classes) if classes else None
    return _list_samples(tuple(shards), state, split, tuple(suffixes), known)


# Every process lists each split up to three times, and ImageNet's headers take 80 s of CPU time.
@lru_cache(maxsize=2)
def _list_samples(
    shards: tuple[Path, ...],
    state: tuple[tuple[int, int], ...],
    split: str,
    suffixes: tuple[str, ...],
    classes: tuple[str, ...] | None,
) -> Samples:
    """List samples as `list_samples` does.

    state: size and modification time of each shard, so that a changed shard is read again.
    """
    found: dict[str, tuple[int, TarMember]] = {}
    for shard in shards:
        for key, label, member in _read_shard(shard, suffixes):
            if key in found:
                raise UserError(f"{member}: another sample has this name; rename one of them")
            found[key] = (label, member)
    if not found:
        more = f" (like all {len(shards)} {split} shards)" if len(shards) > 1 else ""
        raise UserError(
            f"{shards[0]}: contains no samples{more}; a sample is an image and its label, "
            f"as NAME.jpg and NAME.{LABEL}"
        )
    pairs = sorted(found.values(), key=lambda pair: (pair[0], pair[1].name.split("/")))
    labels = tuple(label for label, _ in pairs)
    names = classes or _name_classes(shards[0].parent, pairs)
    if labels[-1] >= len(names):
        raise UserError(
            f"{pairs[-1][1]}: its class {labels[-1]} is missing in the training shards; add "
            "training samples of this class, or remove its other samples"
        )
    _check_folders(names, pairs)
    placed = tuple(
        TarMember(m.shard, m.name, _place(split, names[label], m.name), m.start, m.size)
        for label, m in pairs
    )
    return Samples(names, placed, labels)


def _place(split: str, name: str, member: str) -> str:
    """Return the path that a member has in an image folder."""
    inside = member if member.startswith(f"{name}/") else f"{name}/{member}"
    return f"{split}/{inside}"


def _name_classes(place: Path, pairs: Sequence[tuple[int, TarMember]]) -> tuple[str, ...]:
    count = pairs[-1][0] + 1
    labels = {label for label, _ in pairs}
    lacks_some = len(labels) < count  # do not list the classes, because a label may be huge
    if lacks_some or count < 2:
        first = next(label for label in range(count + 1) if label not in labels)
        what = f"no sample of class {first}" if lacks_some else "fewer than two classes"
        raise UserError(
            f"{place}: the training shards contain {what}; add the missing shards, or number the "
            "classes from 0 without a gap"
        )
    folders = {(label, member.name.partition("/")[0]) for label, member in pairs}
    names = [folder for _, folder in sorted(folders)]
    nested = all("/" in member.name for _, member in pairs)
    if nested and len(names) == count == len(set(names)) and names == sorted(names):
        return tuple(names)
    return tuple(str(number) for number in range(count))


def _check_folders(names: Sequence[str], pairs: Sequence[tuple[int, TarMember]]) -> None:
    """Raise UserError for a sample in the folder of another class.

    Such a sample shows that the splits number their classes differently. Nothing is checked if the
    class names are only numbers.
    """
    if names == tuple(str(number) for number in range(len(names))):
        return
    known = set(names)
    for label, member in pairs:
        folder, slash, _ = member.name.partition("/")
        if slash and folder != names[label] and folder in known:
            raise UserError(
                f"{member}: its label is {label}, which means {names[label]!r} in the training "
                "shards; number the classes of both splits alike"
            )


def _read_shard(shard: Path, suffixes: Sequence[str]) -> Iterator[tuple[str, int, TarMember]]:
    """Yield key, label and image of each sample of a shard."""
    try:
        with tarfile.open(shard, "r:") as archive:
            images: dict[str, TarMember] = {}
            labels: dict[str, int] = {}
            others: dict[str, list[str]] = {}
            for entry in archive:
                name = entry.name.removeprefix("./")
                if not entry.isfile() or PurePosixPath(name).name.startswith("."):
                    continue
                key, kind = split_name(name)
                if kind == LABEL:
                    labels[key] = _read_label(archive, entry, shard)
                elif f".{kind.rpartition('.')[2]}" in suffixes:
                    member = TarMember(shard, name, "", entry.offset_data, entry.size)
                    if key in images:
                        raise UserError(f"{member}: its sample has another image; remove one")
                    images[key] = member
                else:
                    others.setdefault(key, []).append(name)
            _check_end(archive, shard)
    except (OSError, tarfile.TarError) as error:
        raise UserError(f"{shard}: cannot be read as a tar archive ({error}); replace it") from None
    for key in sorted(images.keys() ^ labels.keys()):
        if key in others and key in labels:
            raise UserError(
                f"{shard}: sample {key} has no image ({', '.join(suffixes)}), only "
                f"{', '.join(others[key])}; convert the image to one of these formats"
            )
        what = f"label ({key}.{LABEL})" if key in images else "image"
        raise UserError(
            f"{shard}: sample {key} has no {what}; put the image and the label of a sample into "
            "one shard"
        )
    yield from ((key, labels[key], member) for key, member in images.items())


def _check_end(archive: tarfile.TarFile, shard: Path) -> None:
    """Raise UserError unless the archive ends with a block of zeros.

    tarfile treats a damaged header, or the end of a truncated file, as the end of the archive.
    """
    with shard.open("rb") as file:
        file.seek(archive.offset)
        block = file.read(tarfile.BLOCKSIZE)
    if block != bytes(tarfile.BLOCKSIZE):
        raise UserError(f"{shard}: damaged or cut off at byte {archive.offset}; replace it")


def split_name(name: str) -> tuple[str, str]:
    """Return the key of a member and its extension in lower case, as webdataset splits them."""
    folder, slash, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    return f"{folder}{slash}{stem}", extension.lower()


def _read_label(archive: tarfile.TarFile, entry: tarfile.TarInfo, shard: Path) -> int:
    file = archive.extractfile(entry)
    text = file.read(100).decode(errors="replace").strip() if file else ""
    if not text.isdecimal():
        raise UserError(
            f"{shard}: {entry.name} contains {text[:20]!r}; a label must be a whole number of at "
            "least 0"
        )
    return int(text)
