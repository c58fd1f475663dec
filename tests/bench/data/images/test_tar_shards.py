"""Tests of tar shards: their runs equal those of an image folder; faults give one-line errors."""

from __future__ import annotations

import io
import random
import sys
import tarfile
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.images import image_folder
from bench.data.images.folders import sequential
from bench.data.images.folders.sequential import SequentialStream
from bench.data.images.shards.shard_files import find_shards
from bench.data.images.shards.tar_shards import TarMember
from bench.data.images.streaming import ImageStream
from bench.errors import UserError
from bench.planning.run_inputs import resolve_inputs
from bench.results.comparison import find_difference
from bench.spec import Spec
from bench.training.loop import execute
from tests.support.interrupted_runs import execute_with_stops
from tests.support.tiny_runs import load_essence

CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Create an image folder of 3 classes, with 36 training and 9 validation images."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 3)):
        for name in CLASSES:
            (tmp_path / "folder" / split / name).mkdir(parents=True)
            for number in range(count):
                kind = ("png", "jpg")[number % 2]
                pixels = draw.integers(0, 256, (30 + number, 40, 3), dtype=np.uint8)
                path = tmp_path / "folder" / split / name / f"{name}-{number}.{kind}"
                Image.fromarray(pixels).save(path)
    return tmp_path / "folder"


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to a tar archive."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def pack(folder: Path, root: Path, pattern: str, *, nested: bool = True, shards: int = 3) -> Path:
    """Write the images of a folder in random order to shards below `root`, and return `root`.

    pattern: name of a shard, with {split} and {number}. nested: keep the class folders.
    """
    for split in ("train", "val"):
        paths = sorted((folder / split).glob("*/*"))
        random.Random(1).shuffle(paths)
        for number in range(shards):
            file = root / pattern.format(split=split, number=number)
            file.parent.mkdir(parents=True, exist_ok=True)
            with tarfile.open(file, "w") as archive:
                for path in paths[number::shards]:
                    name = path.relative_to(folder / split) if nested else Path(path.name)
                    add(archive, name.as_posix(), path.read_bytes())
                    label = str(CLASSES.index(path.parent.name)).encode()
                    add(archive, name.with_suffix(".cls").as_posix(), label)
    return root


def spec_of(root: Path, **changes: Any) -> Spec:
    """Return the spec of a tiny run on a folder of images."""
    values = {
        "model": "laptop_vgg11", "data": f"folder:{root}", "resolution": 24, "epochs": 2,
        "batch_size": 8, "strategy": "autofreeze", "options": {"M": 2, "N": 90},
    }  # fmt: skip
    return resolve_inputs(Spec.from_dict({**values, **changes}), "laptop")


@pytest.mark.parametrize("memory", [0, 2**30])
def test_a_run_on_shards_is_the_run_on_the_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: int
) -> None:
    """Compare runs, streamed and in memory. Members named CLASS/NAME give the same id too."""
    monkeypatch.setattr(image_folder, "MEMORY", memory)
    here = pack(folder, tmp_path / "inside", "{split}/{number:03}.tar")
    flat = pack(folder, tmp_path / "flat", "set-{split}-{number}.tar", nested=False, shards=2)
    specs = [spec_of(place) for place in (folder, here, flat)]
    assert specs[0].id == specs[1].id != specs[2].id
    records = []
    for number, spec in enumerate(specs):
        execute(spec, tmp_path / f"results{number}")
        record = load_essence(spec, tmp_path / f"results{number}")
        record["spec"] = {}
        record["result"] |= {"id": "", "cell": ""}
        records.append(record)
    assert find_difference(records[0], records[1]) == ""
    assert find_difference(records[0], records[2]) == ""


def test_class_folders_come_before_tar_files_beside_them(folder: Path) -> None:
    (folder / "train" / "ant.tar").touch()
    (folder / "ILSVRC2012_img_train.tar").touch()
    assert find_shards(folder, "train") == []
    assert all(isinstance(p, Path) for p in image_folder.list_images(folder, "train").paths)


def test_sequential_reading_gives_each_image_once_an_epoch_in_a_new_order(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequential, "BUFFER", 10)
    root = pack(folder, tmp_path / "shards", "{split}/{number}.tar")
    by_index = ImageStream(root, resolution=24, workers=0)
    streams = [SequentialStream(root, resolution=24, workers=count) for count in (0, 2)]
    seen = []
    for epoch, augment in ((0, "none"), (1, "none"), (0, "standard")):
        how: dict[str, Any] = {"seed": 3, "epoch": epoch, "augment": augment}
        both = [list(s.training(torch.arange(36), 8, **how)) for s in streams]
        images, labels = (torch.cat(part) for part in zip(*both[0], strict=True))
        for one, other in zip(*both, strict=True):  # whatever the number of workers
            assert torch.equal(one[0], other[0])
            assert torch.equal(one[1], other[1])
        after = list(streams[0].training(torch.arange(36), 8, start=2, **how))
        assert torch.equal(torch.cat([batch[0] for batch in after]), images[16:])
        same, own = next(iter(by_index.training(torch.arange(36), 36, **how)))
        order = [int((same == image).flatten(1).all(1).nonzero()) for image in images]
        assert sorted(order) == list(range(36))
        assert torch.equal(own[order], labels)
        seen.append(order)
    assert seen[0] == seen[2] != seen[1]
    assert seen[0] != sorted(seen[0])


def test_sequential_reading_finds_images_that_are_not_next_to_their_labels(
    folder: Path, tmp_path: Path
) -> None:
    root = pack(folder, tmp_path / "shards", "{split}/{number}.tar", shards=1)
    path = root / "train" / "0.tar"
    with tarfile.open(path) as archive:
        files = {m.name: cast(IO[bytes], archive.extractfile(m)).read() for m in archive}
    with tarfile.open(path, "w") as archive:
        for name in sorted(files, key=lambda name: (name.endswith(".cls"), name)):
            add(archive, name, files[name])
    how: dict[str, Any] = {"seed": 3, "epoch": 0, "augment": "none"}
    stream = SequentialStream(root, resolution=24, workers=0)
    images, labels = next(iter(stream.training(torch.arange(36), 36, **how)))
    same, own = next(iter(ImageStream(root, resolution=24, workers=0).training(
        torch.arange(36), 36, **how)))  # fmt: skip
    order = [int((same == image).flatten(1).all(1).nonzero()) for image in images]
    assert sorted(order) == list(range(36))
    assert torch.equal(own[order], labels)


def test_a_sequential_run_has_its_own_id_and_resumes_exactly(folder: Path, tmp_path: Path) -> None:
    root = pack(folder, tmp_path / "shards", "{split}/{number}.tar")
    spec = spec_of(root, sequential=True, train_limit=30)
    assert spec.id != spec_of(root, train_limit=30).id
    execute(spec, tmp_path / "straight")
    assert execute_with_stops(3, spec, tmp_path / "broken") >= 2
    essences = [load_essence(spec, tmp_path / name) for name in ("straight", "broken")]
    assert find_difference(*essences) == ""
    assert essences[0]["result"]["steps"] == 8


@pytest.mark.parametrize("data", ["digits10", "grammar:acceptability", "folder"])
def test_sequential_needs_shards(folder: Path, tmp_path: Path, data: str) -> None:
    model = "laptop_bert" if data.startswith("grammar") else "laptop_vgg11"
    name = f"folder:{folder}" if data == "folder" else data
    spec = spec_of(folder, data=name, model=model, sequential=True)
    with pytest.raises(UserError, match=r"sequential reads tar shards.*; set sequential = false"):
        execute(spec, tmp_path)


def test_sequential_without_the_library_names_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pack(folder, tmp_path / "shards", "{split}/{number}.tar")
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(UserError, match=r"pip install 'freezebench\[shards\]'"):
        SequentialStream(root, resolution=24)
    assert ImageStream(root, resolution=24).train_samples == 36


def spoil(root: Path, split: str, *entries: tuple[str, bytes]) -> None:
    """Write one more shard with these files."""
    with tarfile.open(root / split / "9.tar", "w") as archive:
        for name, content in entries:
            add(archive, name, content)


@pytest.mark.parametrize(
    ("split", "entries", "words"),
    [
        ("train", [("ant/x.jpg", b"")], r"9\.tar: sample ant/x has no label \(ant/x\.cls\)"),
        ("train", [("ant/x.cls", b"0")], r"9\.tar: sample ant/x has no image"),
        ("train", [("x.cls", b"one")], r"9\.tar: x\.cls contains 'one'; a label must be a whole"),
        ("train", [("x.png", b""), ("x.jpg", b"")], r"x\.jpg: its sample has another image"),
        ("train", [("ant/ant-0.png", b""), ("ant/ant-0.cls", b"0")], r"another sample has this"),
        ("train", [("x.png", b""), ("x.cls", b"4")], r"contain no sample of class 3"),
        ("val", [("x.png", b""), ("x.cls", b"4")], r"its class 4 is missing in the training"),
    ],
)
def test_a_fault_in_a_shard_is_named_in_one_line(
    folder: Path, tmp_path: Path, split: str, entries: list[tuple[str, bytes]], words: str
) -> None:
    root = pack(folder, tmp_path / "shards", "{split}/{number}.tar")
    spoil(root, split, *entries)
    with pytest.raises(UserError, match=words) as caught:
        image_folder.list_files(root)
    assert "\n" not in str(caught.value)


def test_damaged_shards_and_images_are_named(folder: Path, tmp_path: Path) -> None:
    root = pack(folder, tmp_path / "shards", "{split}/{number}.tar")
    file = root / "train" / "1.tar"
    whole = file.read_bytes()
    member = next(
        m for m in image_folder.list_images(root, "train").paths
        if isinstance(m, TarMember) and m.shard == file
    )  # fmt: skip
    for content in (
        whole[: member.start + member.size // 2],  # cut off within a file
        whole[: member.start - tarfile.BLOCKSIZE],  # and between two files
        whole[: member.start - tarfile.BLOCKSIZE]
        + b"x" * tarfile.BLOCKSIZE
        + whole[member.start :],
        b"no archive",
    ):
        file.write_bytes(content)
        with pytest.raises(
            UserError, match=r"1\.tar: (damaged or cut off|cannot be read as a tar)"
        ):
            image_folder.list_files(root)
    file.unlink()
    file.symlink_to("nowhere")
    with pytest.raises(UserError, match=r"1\.tar: a link to nowhere, which does not exist"):
        image_folder.list_files(root)
    file.unlink()
    file.write_bytes(
        whole[: member.start] + b"?" * member.size + whole[member.start + member.size :]
    )
    with pytest.raises(UserError, match=rf"1\.tar: {member.name}: not a readable image"):
        ImageStream(root, resolution=24)
