"""Data sets read from files: the layouts, what is held out, and one line for what is wrong."""

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
    """The zip layout with lossless sheets; `changes` replace entries of its meta.json."""
    told = {
        "n": len(images),
        "sheet_images": sheet_images,
        "sha256_images": hashlib.sha256(images.tobytes()).hexdigest(),
        "sha256_labels": hashlib.sha256(labels.tobytes()).hexdigest(),
        **changes,
    }
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.json", json.dumps(told))
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
    """torchvision's layout with small batches, and the sums that belong to them."""
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


def test_zip_layout_gives_the_images_that_went_in(zips):
    data = catalogue.load("cifar10", resolution=32, root=zips)
    expected = torch.from_numpy(noise(200, 32, 32, 3)).permute(0, 3, 1, 2)
    assert torch.equal(data.train_images, expected)
    assert data.eval_labels.tolist() == [i % 10 for i in range(30)]
    assert data.flip
    assert catalogue.describe("cifar10", zips).train_samples == 200


def test_python_layout_gives_the_images_that_went_in(python_layout):
    data = catalogue.load("cifar10", resolution=32, root=python_layout)
    first = torch.from_numpy(noise(20, 3072, seed=1)).view(20, 3, 32, 32)
    assert torch.equal(data.train_images[:20], first)
    assert len(data.train_labels) == 100
    assert len(data.eval_labels) == 20


def test_validation_comes_out_of_training_and_leaves_test_unread(zips):
    (zips / "cifar10_test.zip").unlink()
    data = catalogue.load("cifar10", resolution=32, root=zips, evaluate_on="validation")
    assert torch.bincount(data.eval_labels).tolist() == [2] * 10
    both = torch.cat([data.train_images, data.eval_images]).flatten(1)
    assert len(both.unique(dim=0)) == len(both) == 200


def test_resolution_shrinks_once_and_enlarges_later(zips):
    assert catalogue.load("cifar10", resolution=16, root=zips).train_images.shape[-1] == 16
    assert catalogue.load("cifar10", resolution=224, root=zips).train_images.shape[-1] == 32


def test_the_fingerprint_is_of_contents_not_of_places(zips, tmp_path_factory):
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
    """torchvision's classes as they behave where nothing can be fetched."""

    def fail(root, *args, **kwargs):
        raise OSError("no\nnetwork")

    for name, dataset in list(cifar.get_readers().items()):
        offline = type(name, (), {**vars(dataset), "__new__": lambda cls, *a, **k: fail(*a, **k)})
        monkeypatch.setitem(cifar.get_readers(), name, offline)


@pytest.mark.usefixtures("no_network")
def test_missing_roots_and_files_say_what_should_be_there(tmp_path):
    for root in (None, tmp_path, tmp_path / "none"):
        one_line(r"cifar-100-python/.*cifar100_train\.zip", lambda root=root: catalogue.load(
            "cifar100", resolution=32, root=root
        ))  # fmt: skip


def test_a_damaged_zip_is_one_line(zips):
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
    one_line("images are altered", load)
    write_zip(path, images, labels, n=100_000)
    one_line("cannot be read", load)
    write_zip(path, images, labels, n="many")
    one_line("cannot be read", load)
    write_zip(path, images, labels + 50)
    one_line("not a split of cifar10", load)


def test_a_flipped_byte_anywhere_in_a_zip_is_found(zips):
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
        # A byte that carries no content, such as a time.
        assert torch.equal(data.train_images, good.train_images)
        assert torch.equal(data.train_labels, good.train_labels)


def test_damaged_python_files_are_found_before_they_are_unpickled(python_layout):
    path = python_layout / CIFAR10.base_folder / "data_batch_3"
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"x", b""):
        path.write_bytes(content)
        one_line(
            "data_batch_3 is truncated or altered",
            lambda: catalogue.load("cifar10", resolution=32, root=python_layout),
        )
    path.unlink()
    one_line(
        "data_batch_3 is missing",
        lambda: catalogue.load("cifar10", resolution=32, root=python_layout),
    )


@pytest.mark.usefixtures("no_network")
def test_a_failed_download_says_where_to_put_files(tmp_path):
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


def test_a_folder_is_read_with_classes_in_order(pictures):
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


def test_folder_layout_errors_are_one_line(pictures):
    def load():
        catalogue.load(f"folder:{pictures}", resolution=16)

    (pictures / "val" / "cat").mkdir()
    one_line("cat: a class that train/ does not have", load)
    (pictures / "val" / "cat").rmdir()
    (pictures / "train" / "cow").mkdir()
    one_line("cow: holds no images", load)
    (pictures / "train" / "cow").rmdir()
    (pictures / "train" / "bee" / "gone.png").symlink_to("nowhere")  # no image, and no error
    (pictures / "train" / "bee" / "folder.png").mkdir()
    catalogue.load(f"folder:{pictures}", resolution=16)
    bad = pictures / "train" / "bee" / "3.png"
    bad.write_bytes(bad.read_bytes()[:60])
    one_line("3.png: not a readable image", load)
    bad.write_text("hello")
    one_line("3.png: not a readable image", load)
    one_line("no such folder", lambda: catalogue.load("folder:/nowhere", resolution=16))
    one_line("no folder is given", lambda: catalogue.load("imagenet", resolution=16))


def test_an_evaluation_part_without_images_is_told_before_training(pictures):
    for path in (pictures / "val").rglob("*.*"):
        path.unlink()
    one_line("val: holds no images", lambda: catalogue.load(f"folder:{pictures}", resolution=16))


def test_a_folder_too_large_for_memory_is_refused_before_reading(pictures, monkeypatch):
    monkeypatch.setattr(image_folder, "MEMORY", 100)
    one_line("do not fit in memory", lambda: catalogue.load(f"folder:{pictures}", resolution=16))


def stream(pictures, workers, **more):
    return ImageStream(pictures, resolution=16, workers=workers, **more)


def test_a_stream_does_not_depend_on_workers_and_resumes_anywhere(pictures):
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


def test_a_streams_evaluation_is_the_folders(pictures):
    data = catalogue.load(f"folder:{pictures}", resolution=16)
    batches = list(stream(pictures, 0).evaluation(4))
    assert torch.equal(torch.cat([images for images, _ in batches]), data.eval_images)
    assert torch.equal(torch.cat([labels for _, labels in batches]), data.eval_labels)
    held = stream(pictures, 0, evaluate_on="validation")
    assert (held.train_samples, held.eval_samples) == (10, 2)


def test_shares_of_a_streams_batches_are_the_batches(pictures):
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


def test_randaugment_changes_pixels_and_does_so_alike_every_time(pictures):
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


def test_images_are_known_by_the_endings_that_torchvision_knows():
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert IMG_EXTENSIONS == image_folder.IMG_EXTENSIONS
