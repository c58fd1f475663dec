"""Tests of the listing of image folders: links, hidden entries, odd names, classes and damage."""

import gc
import hashlib
import multiprocessing
import os
import time

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

from bench.data import catalogue
from bench.data.images import image_file, image_folder
from bench.data.images.folders import folder_sets
from bench.data.images.image_folder import list_images
from bench.data.images.streaming import ImageStream
from bench.data.interface.splits import split_held_out
from bench.errors import UserError


def draw(path, shade=9, size=(20, 24)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, shade, shade)).save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "pictures"
    for split, name in (("train", "ant"), ("train", "bee"), ("val", "ant"), ("val", "bee")):
        for i in range(3):
            draw(root / split / name / f"{i}.ppm", shade=40 * i + len(split))
    return root


def fingerprint(root):
    return catalogue.find_data_set(f"folder:{root}").fingerprint(None)


def hash_by_rule(root, with_bytes=True):
    """Return the expected fingerprint: a hash of the path and size of each image, in order.

    with_bytes: also hash the bytes of each image.
    """
    digest = hashlib.sha256()
    paths = [root / split / name / f"{i}.ppm" for split in ("train", "val")
             for name in ("ant", "bee") for i in range(3)]  # fmt: skip
    for path in paths:
        digest.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode())
        digest.update(path.read_bytes() if with_bytes else b"")
    return digest.hexdigest()[:16]


def one_line(match, ask):
    with pytest.raises(UserError, match=match) as caught:
        ask()
    assert str(caught.value).isprintable()


def test_the_fingerprint_follows_its_rule(pictures, monkeypatch):
    assert fingerprint(pictures) == hash_by_rule(pictures)
    assert catalogue.find_data_set("imagenet").fingerprint(pictures) == hash_by_rule(pictures)
    monkeypatch.setattr(image_folder, "MEMORY", 0)
    assert fingerprint(pictures) == hash_by_rule(pictures, with_bytes=False)


@pytest.mark.parametrize("memory", [0, 2**30])
def test_images_that_earlier_versions_clipped_change_the_fingerprint(memory, pictures, monkeypatch):
    monkeypatch.setattr(image_folder, "MEMORY", memory)
    deep = np.full((5, 5), 1000, np.uint16)
    Image.fromarray(deep).save(pictures / "train/bee/1.ppm")
    assert image_file.has_deep_pixels(pictures / "train/bee/1.ppm")
    assert fingerprint(pictures) != hash_by_rule(pictures, with_bytes=memory > 0)


def test_deep_images_load_as_their_upper_8_bits(tmp_path):
    generator = np.random.default_rng(0)
    for i in range(8):
        name = f"{('train', 'val')[i % 2]}/{('dark', 'light')[i // 2 % 2]}/{i}.png"
        grey = generator.integers(0, 2**16, (30, 30), dtype=np.uint16)
        for kind, pixels in (("deep", grey), ("flat", (grey >> 8).astype(np.uint8))):
            (tmp_path / kind / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / kind / name)
    deep, flat = (catalogue.load(f"folder:{tmp_path / k}", resolution=16) for k in ("deep", "flat"))
    assert torch.equal(deep.train_images, flat.train_images)
    assert torch.equal(deep.eval_images, flat.eval_images)
    crops = [
        next(ImageStream(tmp_path / kind, resolution=16, workers=0).training(
            torch.arange(4), 4, seed=0, epoch=0))[0]
        for kind in ("deep", "flat")
    ]  # fmt: skip
    assert torch.equal(*crops)


def test_links_are_followed_as_torchvision_follows_them(pictures, tmp_path):
    store = tmp_path / "store"
    for i in range(4):
        draw(store / "deeper" / f"m{i}.png")
    draw(tmp_path / "other" / "cow.png")
    train = pictures / "train"
    (train / "bee" / "more").symlink_to(store)
    (train / "bee" / "again").symlink_to(store / "deeper")
    (train / "ant" / "9.png").symlink_to(store / "deeper" / "m0.png")
    (train / "cow").symlink_to(tmp_path / "other")
    (store / "chain").symlink_to(tmp_path / "other")
    listing = list_images(pictures, "train")
    expected = sorted(ImageFolder(train).samples)
    found = zip(map(str, listing.paths), listing.labels.tolist(), strict=True)
    assert sorted(found) == expected
    assert len(expected) == 6 + 4 + 4 + 1 + 1 + 1
    assert catalogue.describe(f"folder:{pictures}").train_samples == len(expected)


def test_loops_of_links_end(pictures):
    before = list_images(pictures, "train").paths
    bee = pictures / "train" / "bee"
    for name, target in (("here", "."), ("up", ".."), ("root", pictures)):
        (bee / name).symlink_to(target)
    (bee / "inner").mkdir()
    for i in range(12):
        (bee / "inner" / f"back{i}").symlink_to(bee)
    assert list_images(pictures, "train").paths == before
    assert fingerprint(pictures) == hash_by_rule(pictures)
    (pictures / "train" / "loop").symlink_to(".")
    one_line("loop: contains no images", lambda: list_images(pictures, "train"))


@pytest.mark.parametrize("place", ["cow", "bee/more", "bee/9.png", "bee/deeper/x.png"])
def test_a_link_to_nothing_is_named(place, pictures):
    """Expect an error for a broken link, for example to an unmounted disk.

    Its images would be left out in silence.
    """
    link = pictures / "train" / place
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(pictures / "unmounted" / "images")
    one_line(
        f"{place}: a link to .*unmounted/images, which", lambda: list_images(pictures, "train")
    )
    link.rename(link.with_name(".hidden"))
    assert len(list_images(pictures, "train").paths) == 6


@pytest.mark.parametrize("place", ["cow", "bee/9.png"])
def test_a_link_to_itself_is_named(place, pictures):
    (pictures / "train" / place).symlink_to((pictures / "train" / place).name)
    one_line(f"{place}: a link to .*, which leads back", lambda: list_images(pictures, "train"))


def test_folders_that_link_to_each_other_are_each_read(pictures):
    for one, other in (("ant", "bee"), ("bee", "ant")):
        (pictures / "train" / one / "other").symlink_to(pictures / "train" / other)
    listing = list_images(pictures, "train")
    assert torch.bincount(listing.labels).tolist() == [6, 6]


def test_hidden_entries_and_those_of_operating_systems_are_left_out(pictures):
    for split in ("train", "val"):
        for place in (
            ".ipynb_checkpoints",
            "__MACOSX",
            "@eaDir",
            "ant/.thumbnails",
            "bee/@eaDir/0",
        ):
            draw(pictures / split / place / "0.png")
        (pictures / split / "bee" / "._0.png").write_text("resource fork")
        (pictures / split / ".DS_Store").write_text("")
        (pictures / split / "ant" / "notes.txt").write_text("no image")
        (pictures / split / "readme.png").write_text("no class")
    listing = list_images(pictures, "train")
    assert listing.classes == ("ant", "bee")
    assert len(listing.paths) == 6
    assert fingerprint(pictures) == hash_by_rule(pictures)
    catalogue.load(f"folder:{pictures}", resolution=16)


def test_hidden_files_do_not_fill_a_class(pictures):
    draw(pictures / "train" / "cow" / ".0.png")
    one_line("cow: contains no images", lambda: list_images(pictures, "train"))


def test_a_folder_needs_two_classes(tmp_path):
    draw(tmp_path / "one/train/ant/0.png")
    draw(tmp_path / "one/train/.hidden/0.png")
    for ask in (fingerprint, lambda root: catalogue.describe("imagenet", root),
                lambda root: catalogue.load(f"folder:{root}", resolution=16)):  # fmt: skip
        one_line(r"train: contains a single class, 'ant'; give at least two", lambda ask=ask: ask(
            tmp_path / "one"
        ))  # fmt: skip


def test_a_folder_that_cannot_be_read_is_named(pictures, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("bee"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    one_line("train/bee: cannot be read", lambda: list_images(pictures, "train"))


def test_an_image_that_cannot_be_read_for_its_fingerprint_is_named(pictures, monkeypatch):
    paths = image_folder.list_files(pictures)
    monkeypatch.setattr(folder_sets.image_folder, "list_files", lambda *_: paths)
    paths[3].unlink()
    one_line("bee/0.ppm: cannot be read", lambda: fingerprint(pictures))


def test_names_that_are_not_utf_8_work_everywhere(pictures):
    odd = os.fsdecode(b"caf\xe9")
    for split in ("train", "val"):
        draw(pictures / split / odd / f"{odd}.png")
        draw(pictures / split / odd / "a\nb.png")
    listing = list_images(pictures, "train")
    assert listing.classes == ("ant", "bee", odd)
    data = catalogue.load(f"folder:{pictures}", resolution=16)
    assert data.train_labels.tolist() == [0] * 3 + [1] * 3 + [2] * 2
    stream = ImageStream(pictures, resolution=16, workers=1)
    assert sum(len(labels) for _, labels in stream.evaluation(3)) == 8
    first = fingerprint(pictures)
    renamed = pictures / "train" / odd / os.fsdecode(b"caf\xe8.png")
    (pictures / "train" / odd / f"{odd}.png").rename(renamed)
    assert fingerprint(pictures) != first
    renamed.write_text("no image")
    one_line(r"caf\\udce8\.png: not a", lambda: catalogue.load(f"folder:{pictures}", resolution=16))
    (pictures / "val" / os.fsdecode(b"\xff")).mkdir()
    one_line(
        r"val/\\udcff: this class", lambda: catalogue.load(f"folder:{pictures}", resolution=16)
    )


def test_the_only_image_of_a_class_is_not_held_out_in_silence(pictures):
    draw(pictures / "train" / "cow" / "0.png")
    draw(pictures / "train" / "doe" / "0.png")
    for name in ("cow", "doe"):
        draw(pictures / "val" / name / "0.png")
    for ask in (lambda **how: catalogue.load(f"folder:{pictures}", **how),
                lambda **how: ImageStream(pictures, workers=0, **how)):  # fmt: skip
        one_line(
            r"cow/0\.png: the only image of class 'cow' \(one of 2 such classes\).*--evaluate-on",
            lambda ask=ask: ask(resolution=16, evaluate_on="validation"),
        )
        ask(resolution=16, evaluate_on="test")
    one_line(
        r"class 1 \(counted from 0\) has a single",
        lambda: split_held_out(torch.tensor([0, 0, 1]), 0.1),
    )
    kept, held = split_held_out(torch.tensor([0, 0, 1, 1]), 0.1)
    assert len(kept) == len(held) == 2


def damage_middle(path):
    """Write a PNG with an intact beginning and end that lacks half of its bytes."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] + content[-12:])


@pytest.mark.parametrize("workers", [0, 2])
def test_damage_found_in_a_worker_is_one_line(workers, pictures):
    damage_middle(pictures / "train" / "bee" / "1.png")
    damage_middle(pictures / "val" / "bee" / "1.png")
    stream = ImageStream(pictures, resolution=16, workers=workers)  # its ends are fine
    batches = stream.training(torch.arange(7), 2, seed=0, epoch=0)
    assert [len(next(batches)[1]) for _ in range(2)] == [2, 2]
    one_line(r"^\S*/train/bee/1\.png: not a readable image", lambda: list(batches))
    one_line(r"^\S*/val/bee/1\.png: not a readable", lambda: list(stream.evaluation(2)))
    before = time.monotonic()
    gc.collect()
    assert not multiprocessing.active_children()
    assert time.monotonic() - before < 4  # a DataLoader waits 5 s for a worker that does not end


def test_batches_in_a_reference_cycle_end_their_workers_without_a_wait(pictures):
    stream = ImageStream(pictures, resolution=16, workers=2)
    cycle = [stream.training(torch.arange(7), 2, seed=0, epoch=0)]
    assert len(next(cycle[0])[1]) == 2
    cycle.append(cycle)
    del cycle
    before = time.monotonic()
    gc.collect()
    assert not multiprocessing.active_children()
    assert time.monotonic() - before < 4  # a DataLoader waits 5 s for a worker that does not end


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_stream_checks_its_images_before_the_first_batch(part, pictures):
    path = draw(pictures / part / "bee" / "2.jpg", size=(90, 90))
    path.write_bytes(path.read_bytes()[:-50])
    one_line(rf"{part}/bee/2\.jpg: not a", lambda: ImageStream(pictures, resolution=16, workers=0))
    if part == "train":  # images that the run does not read are not checked
        ImageStream(pictures, resolution=16, workers=0, train_limit=2)
