"""CIFAR as data sets: where files are found, and what an evaluation part reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bench.data import catalogue
from tests.support.cifar_files import catch_line, write_cifar10, write_pickles, write_table


def write_cache(root: Path) -> None:
    """Write the files as huggingface_hub caches them: a new snapshot of links, and an old one."""
    cache = root / "datasets--uoft-cs--cifar10"
    write_cifar10(cache / "snapshots" / "new")
    write_cifar10(cache / "snapshots" / "old", train=10)
    (cache / "blobs").mkdir()
    for number, path in enumerate((cache / "snapshots" / "new").rglob("*.parquet")):
        path.rename(cache / "blobs" / str(number))
        path.symlink_to(cache / "blobs" / str(number))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("new")


@pytest.mark.parametrize(
    "write",
    [
        write_cifar10,
        lambda root: write_cifar10(root / "cifar10"),
        lambda root: write_cifar10(root / "uoft-cs" / "cifar10"),
        lambda root: (write_cifar10(root) / "plain_text").rename(root / "data"),
        lambda root: (write_cifar10(root / "x") / "plain_text").rename(root / "cifar10"),
        lambda root: [p.rename(root / p.name) for p in write_cifar10(root).glob("*/*")],
        write_cache,
    ],
)
def test_parquet_files_are_found_directly_and_in_a_folder_named_like_the_data_set(
    write: Callable[[Path], object], tmp_path: Path
) -> None:
    write(tmp_path)
    assert catalogue.describe("cifar10", tmp_path).train_samples == 200
    data = catalogue.load("cifar10", resolution=32, root=tmp_path)
    assert (len(data.train_labels), data.eval_labels.tolist()) == (200, [*range(10)] * 3)
    assert data.flip


@pytest.mark.parametrize("write", ["pickles", "parquet"])
def test_validation_is_held_out_of_training_and_needs_no_test_images(
    write: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if write == "pickles":
        (write_pickles(tmp_path, monkeypatch) / "test_batch").unlink()
    else:
        (write_cifar10(tmp_path, train=100) / "plain_text/test-00000-of-00001.parquet").unlink()
    catalogue.find_data_set("cifar10").fingerprint(tmp_path)
    data = catalogue.load("cifar10", resolution=32, root=tmp_path, evaluate_on="validation")
    assert torch.bincount(data.eval_labels).tolist() == [1] * 10
    both = torch.cat([data.train_images, data.eval_images]).flatten(1)
    assert len(both.unique(dim=0)) == len(both) == 100
    line = catch_line(lambda: catalogue.load("cifar10", resolution=32, root=tmp_path))
    assert "test_batch is missing" in line or "contains no test-*.parquet" in line


def test_loading_shrinks_images_to_the_resolution_but_does_not_enlarge_them(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    assert catalogue.load("cifar10", resolution=16, root=tmp_path).train_images.shape[-1] == 16
    assert catalogue.load("cifar10", resolution=224, root=tmp_path).train_images.shape[-1] == 32


def test_a_missing_data_root_is_one_line_with_the_files_to_provide(tmp_path: Path) -> None:
    for root, word in ((None, "--data-root DIR"), (tmp_path / "none", str(tmp_path / "none"))):
        line = catch_line(lambda root=root: catalogue.load("cifar100", resolution=32, root=root))
        assert word in line
        assert "cifar-100-python/" in line
        assert "cifar100/ with train-*.parquet and test-*.parquet" in line


def test_parquet_files_of_another_data_set_are_not_taken_for_cifar(tmp_path: Path) -> None:
    """Expect the fingerprint of the files to download, as if these files were absent."""
    find = catalogue.find_data_set("cifar10").fingerprint
    before = find(tmp_path)
    for place in (tmp_path, tmp_path / "data"):
        write_table(place / "train-00000-of-00001.parquet", [b""], fine_label=[1])
        (place / "test-00000-of-00001.parquet").write_text("damaged")
    assert find(tmp_path) == before
    assert catalogue.describe("cifar100", tmp_path).train_samples == 1


def test_facts_without_files_are_the_published_ones(tmp_path: Path) -> None:
    for root in (None, tmp_path, tmp_path / "none"):
        assert catalogue.describe("cifar100", root).train_samples == 50_000
