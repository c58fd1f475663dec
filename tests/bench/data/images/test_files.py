"""Tests of image folders: held-out parts, streams and one-line errors."""

from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data import catalogue
from bench.data.images import image_folder
from bench.data.images.streaming import ImageStream
from bench.distributed.process_group import ProcessGroup
from bench.errors import UserError


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def one_line(match, ask):
    with pytest.raises(UserError, match=match) as caught:
        ask()
    assert "\n" not in str(caught.value)


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
    (pictures / "train" / "bee" / "gone.png").symlink_to("nowhere")
    one_line("gone.png: a link to nowhere, which does not exist", load)
    (pictures / "train" / "bee" / "gone.png").unlink()
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
    for split, name in product(("train", "val"), ("a", "b")):
        (tmp_path / split / name).mkdir(parents=True)
        Image.fromarray(noise(40, 40, 3)).save(tmp_path / split / name / "0.png")
    source = stream(tmp_path, 0)
    one, two = (next(source.training(torch.arange(1), 1, seed=0, epoch=e))[0] for e in (0, 1))
    assert not torch.equal(one, two)


def test_image_extensions_are_those_of_torchvision():
    from torchvision.datasets.folder import IMG_EXTENSIONS

    assert IMG_EXTENSIONS == image_folder.IMG_EXTENSIONS
