"""Tests of image data sets in files: formats, held-out parts, streams and one-line errors."""

import hashlib
import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from bench.data import catalogue
from bench.data.images import cifar, image_folder
from bench.data.images.streaming import ImageStream
from bench.distributed.process_group import ProcessGroup
from bench.errors import UserError


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_zip(path, images, labels, *, sheet_images=16, columns=4, **changes):
    """Write a file in the zip format with lossless sheets.

    changes: entries of meta.json to replace.
    """
    meta = {
        "n": len(images),
        "sheet_images": sheet_images,
        "sha256_images": hashlib.sha256(images.tobytes()).hexdigest(),
        "sha256_labels": hashlib.sha256(labels.tobytes()).hexdigest(),
        **changes,
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.json", json.dumps(meta))
        with archive.open("labels.npy", "w") as file:
            np.save(file, labels)
        for number, start in enumerate(range(0, len(images), sheet_images)):
            part = images[start : start + sheet_images]
            rows = -(-len(part) // columns)
            tiles = np.zeros((rows * columns, 32, 32, 3), np.uint8)
            tiles[: len(part)] = part
            sheet = tiles.reshape(rows, columns, 32, 32, 3).transpose(0, 2, 1, 3, 4)
            with archive.open(f"sheet_{number:03d}.webp", "w") as file:
                picture = Image.fromarray(sheet.reshape(rows * 32, columns * 32, 3))
                picture.save(file, "webp", lossless=True, exact=True)


@pytest.fixture
def zips(tmp_path):
    labels = (np.arange(200) % 10).astype(np.uint8)
    write_zip(tmp_path / "cifar10_train_part.zip", noise(200, 32, 32, 3), labels)
    write_zip(tmp_path / "cifar10_test.zip", noise(30, 32, 32, 3, seed=1), labels[:30])
    return tmp_path


@pytest.fixture
def python_layout(tmp_path, monkeypatch):
    """Write torchvision's format with small batches, and patch the expected checksums."""
    base = tmp_path / CIFAR10.base_folder
    base.mkdir()

    def dump(file, content):
        (base / file).write_bytes(pickle.dumps(content))
        return hashlib.md5((base / file).read_bytes()).hexdigest()

    def batch(file, count, seed):
        content = {"data": noise(count, 3072, seed=seed), "labels": [i % 10 for i in range(count)]}
        return [file, dump(file, content)]

    train = [batch(f"data_batch_{i}", 20, i) for i in range(1, 6)]
    test = [batch("test_batch", 20, 9)]
    md5 = dump("batches.meta", {"label_names": [str(i) for i in range(10)]})
    meta = {"filename": "batches.meta", "key": "label_names", "md5": md5}
    for name, value in (("train_list", train), ("test_list", test), ("meta", meta)):
        monkeypatch.setattr(CIFAR10, name, value)
    return tmp_path


def test_the_zip_format_returns_the_written_images(zips):
    data = catalogue.load("cifar10", resolution=32, root=zips)
    expected = torch.from_numpy(noise(200, 32, 32, 3)).permute(0, 3, 1, 2)
    assert torch.equal(data.train_images, expected)
    assert data.eval_labels.tolist() == [i % 10 for i in range(30)]
    assert data.flip
    assert catalogue.describe("cifar10", zips).train_samples == 200


def test_the_python_format_returns_the_written_images(python_layout):
    data = catalogue.load("cifar10", resolution=32, root=python_layout)
    first = torch.from_numpy(noise(20, 3072, seed=1)).view(20, 3, 32, 32)
    assert torch.equal(data.train_images[:20], first)
    assert len(data.train_labels) == 100
    assert len(data.eval_labels) == 20


def test_validation_is_held_out_of_training_and_does_not_read_the_test_file(zips):
    (zips / "cifar10_test.zip").unlink()
    data = catalogue.load("cifar10", resolution=32, root=zips, evaluate_on="validation")
    assert torch.bincount(data.eval_labels).tolist() == [2] * 10
    both = torch.cat([data.train_images, data.eval_images]).flatten(1)
    assert len(both.unique(dim=0)) == len(both) == 200


def test_loading_shrinks_images_to_the_resolution_but_does_not_enlarge_them(zips):
    assert catalogue.load("cifar10", resolution=16, root=zips).train_images.shape[-1] == 16
    assert catalogue.load("cifar10", resolution=224, root=zips).train_images.shape[-1] == 32


def test_the_fingerprint_depends_on_contents_and_not_on_paths(zips, tmp_path_factory):
    other = tmp_path_factory.mktemp("elsewhere")
    for path in zips.glob("*.zip"):
        (other / path.name).write_bytes(path.read_bytes())
    assert catalogue.find_data_set("cifar10").fingerprint(zips) == catalogue.find_data_set(
        "cifar10"
    ).fingerprint(other)
    with (other / "cifar10_test.zip").open("ab") as file:
        file.write(b" ")
    assert catalogue.find_data_set("cifar10").fingerprint(zips) != catalogue.find_data_set(
        "cifar10"
    ).fingerprint(other)


def one_line(match, ask):
    with pytest.raises(UserError, match=match) as caught:
        ask()
    assert "\n" not in str(caught.value)


@pytest.fixture
def no_network(monkeypatch):
    """Make torchvision's classes fail to download."""

    def fail(root, *args, **kwargs):
        raise OSError("no\nnetwork")

    for name, dataset in list(cifar.get_readers().items()):
        offline = type(name, (), {**vars(dataset), "__new__": lambda cls, *a, **k: fail(*a, **k)})
        monkeypatch.setitem(cifar.get_readers(), name, offline)


@pytest.mark.usefixtures("no_network")
def test_errors_for_missing_roots_and_files_name_the_expected_files(tmp_path):
    for root in (None, tmp_path, tmp_path / "none"):
        one_line(r"cifar-100-python/.*cifar100_train\.zip", lambda root=root: catalogue.load(
            "cifar100", resolution=32, root=root
        ))  # fmt: skip


def test_a_damaged_zip_file_is_a_one_line_error(zips):
    path = zips / "cifar10_train_part.zip"
    whole = path.read_bytes()

    def load():
        catalogue.load("cifar10", resolution=32, root=zips)

    path.write_bytes(whole[: len(whole) // 2])
    one_line("cifar10_train_part.zip: cannot be read", load)
    path.write_bytes(b"")
    one_line("cannot be read", load)
    labels = (np.arange(200) % 10).astype(np.uint8)
    images = noise(200, 32, 32, 3)
    write_zip(path, images, labels, sha256_images="0" * 64)
    one_line("images were modified", load)
    write_zip(path, images, labels, n=100_000)
    one_line("cannot be read", load)
    write_zip(path, images, labels, n="many")
    one_line("cannot be read", load)
    write_zip(path, images, labels + 50)
    one_line("not a valid split of cifar10", load)


def test_a_changed_byte_of_a_zip_file_is_an_error_or_does_not_change_the_data(zips):
    path = zips / "cifar10_train_part.zip"
    whole = bytearray(path.read_bytes())
    good = catalogue.load("cifar10", resolution=32, root=zips)
    for place in np.random.default_rng(0).integers(0, len(whole), 25).tolist():
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        try:
            data = catalogue.load("cifar10", resolution=32, root=zips)
        except UserError:
            continue
        # The byte is not part of the content; it may belong to a timestamp.
        assert torch.equal(data.train_images, good.train_images)
        assert torch.equal(data.train_labels, good.train_labels)


def test_damaged_files_of_the_python_format_are_detected_before_unpickling(python_layout):
    path = python_layout / CIFAR10.base_folder / "data_batch_3"
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"x", b""):
        path.write_bytes(content)
        one_line(
            "data_batch_3 is truncated or modified",
            lambda: catalogue.load("cifar10", resolution=32, root=python_layout),
        )
    path.unlink()
    one_line(
        "data_batch_3 is missing",
        lambda: catalogue.load("cifar10", resolution=32, root=python_layout),
    )


@pytest.mark.usefixtures("no_network")
def test_the_error_for_a_failed_download_names_the_files_to_provide(tmp_path):
    one_line(
        r"no network.*cifar10_train\.zip",
        lambda: catalogue.load("cifar10", resolution=32, root=tmp_path),
    )


@pytest.fixture
def pictures(tmp_path):
    for split, count in (("train", 6), ("val", 3)):
        for label, name in enumerate(["ant", "bee"]):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                shade = np.full((20 + i, 30, 3), 40 + 100 * label + i, np.uint8)
                Image.fromarray(shade).save(tmp_path / split / name / f"{i}.png")
    return tmp_path


def test_a_folder_is_read_with_classes_in_alphabetical_order(pictures):
    data = catalogue.load(f"folder:{pictures}", resolution=16)
    assert data.train_images.shape == (12, 3, 16, 16)
    assert data.train_labels.tolist() == [0] * 6 + [1] * 6
    assert data.eval_labels.tolist() == [0] * 3 + [1] * 3
    shades = data.train_images.float().mean(dim=(1, 2, 3))
    assert torch.allclose(shades[:6], torch.arange(40.0, 46.0))
    assert catalogue.describe(f"folder:{pictures}").classes == 2
    same = catalogue.load("imagenet", resolution=16, root=pictures)
    assert torch.equal(same.train_images, data.train_images)


def test_a_folder_holds_out_training_images_for_validation(pictures):
    for path in sorted((pictures / "val").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (pictures / "val").rmdir()
    data = catalogue.load(f"folder:{pictures}", resolution=16, evaluate_on="validation")
    assert data.eval_labels.tolist() == [0, 1]
    assert len(data.train_labels) == 10


def test_errors_in_an_image_folder_are_one_line(pictures):
    def load():
        catalogue.load(f"folder:{pictures}", resolution=16)

    (pictures / "val" / "cat").mkdir()
    one_line("cat: this class is missing in train/", load)
    (pictures / "val" / "cat").rmdir()
    (pictures / "train" / "cow").mkdir()
    one_line("cow: contains no images", load)
    (pictures / "train" / "cow").rmdir()
    (pictures / "train" / "bee" / "gone.png").symlink_to("nowhere")  # skipped without an error
    (pictures / "train" / "bee" / "folder.png").mkdir()
    catalogue.load(f"folder:{pictures}", resolution=16)
    bad = pictures / "train" / "bee" / "3.png"
    bad.write_bytes(bad.read_bytes()[:60])
    one_line("3.png: not a readable image", load)
    bad.write_text("hello")
    one_line("3.png: not a readable image", load)
    one_line("no such folder", lambda: catalogue.load("folder:/nowhere", resolution=16))
    one_line("no folder is given", lambda: catalogue.load("imagenet", resolution=16))


def test_an_evaluation_part_without_images_is_an_error_at_loading(pictures):
    for path in (pictures / "val").rglob("*.*"):
        path.unlink()
    one_line("val: contains no images", lambda: catalogue.load(f"folder:{pictures}", resolution=16))


def test_loading_a_folder_too_large_for_memory_is_an_error(pictures, monkeypatch):
    monkeypatch.setattr(image_folder, "MEMORY", 100)
    one_line("do not fit in memory", lambda: catalogue.load(f"folder:{pictures}", resolution=16))


def stream(pictures, workers, **more):
    return ImageStream(pictures, resolution=16, workers=workers, **more)


def test_batches_of_a_stream_do_not_depend_on_workers_or_on_the_first_batch(pictures):
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    alone, helped = (list(stream(pictures, n).training(order, 5, seed=1, epoch=2)) for n in (0, 2))
    resumed = list(stream(pictures, 0).training(order, 5, seed=1, epoch=2, start=1))
    assert [len(labels) for _, labels in alone] == [5, 5, 2]
    for a, b in (*zip(alone, helped, strict=True), *zip(alone[1:], resumed, strict=True)):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
    images, labels = alone[0]
    assert images.shape == (5, 3, 16, 16)
    assert images.dtype == torch.uint8
    assert labels.tolist() == (order[:5] >= 6).long().tolist()


def test_a_stream_evaluates_on_the_same_images_as_the_loaded_folder(pictures):
    data = catalogue.load(f"folder:{pictures}", resolution=16)
    batches = list(stream(pictures, 0).evaluation(4))
    assert torch.equal(torch.cat([images for images, _ in batches]), data.eval_images)
    assert torch.equal(torch.cat([labels for _, labels in batches]), data.eval_labels)
    held = stream(pictures, 0, evaluate_on="validation")
    assert (held.train_samples, held.eval_samples) == (10, 2)


def test_shares_of_a_streams_batch_add_up_to_the_batch(pictures):
    order = torch.arange(12)
    how = {"seed": 1, "epoch": 2, "augment": "randaugment"}
    whole = list(stream(pictures, 0).training(order, 5, **how))
    parts = [
        list(stream(pictures, 0).training(order, 5, share=ProcessGroup(rank, 2).share, **how))
        for rank in range(2)
    ]
    for batch, one, other in zip(whole, *parts, strict=True):
        for kind in range(2):  # images, labels
            assert torch.equal(batch[kind], torch.cat([one[kind], other[kind]]))
    every = [list(stream(pictures, 0).evaluation(4, slice(rank, None, 2))) for rank in range(2)]
    there = stream(pictures, 0).eval_samples
    assert sum(len(labels) for part in every for _, labels in part) == there


def test_randaugment_changes_pixels_reproducibly(pictures):
    order = torch.arange(12)
    plain = torch.cat([x for x, _ in stream(pictures, 0).training(order, 6, seed=1, epoch=0)])
    more, again = (
        torch.cat([x for x, _ in stream(pictures, n).training(
            order, 6, seed=1, epoch=0, augment="randaugment")])
        for n in (0, 1)
    )  # fmt: skip
    assert torch.equal(more, again)
    assert not torch.equal(more, plain)
    assert plain.shape == more.shape


def test_a_stream_crops_differently_each_epoch(tmp_path):
    for split in ("train", "val"):
        (tmp_path / split / "a").mkdir(parents=True)
        Image.fromarray(noise(40, 40, 3)).save(tmp_path / split / "a" / "0.png")
    source = stream(tmp_path, 0)
    one, two = (next(source.training(torch.arange(1), 1, seed=0, epoch=e))[0] for e in (0, 1))
    assert not torch.equal(one, two)


def test_image_extensions_are_those_of_torchvision():
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert IMG_EXTENSIONS == image_folder.IMG_EXTENSIONS
