"""CIFAR in torchvision's format: contents, checksums and the download."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torchvision.datasets import CIFAR10

from bench.data import catalogue
from bench.data.images.cifar.torchvision_files import TorchvisionFiles
from tests.support.cifar_files import catch_line, draw_images, write_cifar10, write_pickles


def load(root: Path) -> object:
    return catalogue.load("cifar10", resolution=32, root=root)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve an archive of small files on this machine, in place of the published one."""
    folder = write_pickles(tmp_path / "server", monkeypatch)
    archive = tmp_path / "server" / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, CIFAR10.base_folder)
    shutil.rmtree(folder)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    (tmp_path / "root").mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = partial(SimpleHTTPRequestHandler, directory=str(archive.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        monkeypatch.setattr(CIFAR10, "url", url)
        yield archive
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("name", "train"), [("cifar10", 100), ("cifar100", 20)])
def test_the_images_and_labels_are_those_that_were_written(
    name: str, train: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pickles(tmp_path, monkeypatch, name)
    data = catalogue.load(name, resolution=32, root=tmp_path)
    expected = torch.from_numpy(draw_images(20)).permute(0, 3, 1, 2)
    assert torch.equal(data.train_images[:20], expected)
    assert data.train_labels.tolist() == [i % 10 for i in range(train)]
    expected = torch.from_numpy(draw_images(20, 100)).permute(0, 3, 1, 2)
    assert torch.equal(data.eval_images, expected)


def test_torchvision_reads_the_same_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pickles(tmp_path, monkeypatch)
    files = TorchvisionFiles.find("cifar10", tmp_path)
    assert files
    for train in (True, False):
        theirs = CIFAR10(str(tmp_path), train=train)
        images, labels = files.read("train" if train else "test")
        assert torch.equal(images, torch.from_numpy(theirs.data).permute(0, 3, 1, 2))
        assert labels.tolist() == theirs.targets


def test_a_damaged_file_is_reported_before_it_is_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_pickles(tmp_path, monkeypatch) / "data_batch_3"
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"x", b""):
        path.write_bytes(content)
        assert f"{path} is truncated or modified" in catch_line(lambda: load(tmp_path))
    path.unlink()
    assert f"{path} is missing" in catch_line(lambda: load(tmp_path))
    path.mkdir()
    assert f"{path} cannot be read" in catch_line(lambda: load(tmp_path))


def test_the_id_of_the_published_files_needs_no_files_and_ignores_parquet_files_next_to_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hash_below = catalogue.find_data_set("cifar10").fingerprint
    published = hash_below(None)
    assert hash_below(tmp_path) == published
    write_cifar10(tmp_path)
    assert hash_below(tmp_path) != published
    (tmp_path / CIFAR10.base_folder).mkdir()
    assert hash_below(tmp_path) == published


def test_missing_files_are_downloaded_and_an_archive_in_the_data_root_is_extracted(
    archive: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    data = catalogue.load("cifar10", resolution=32, root=root)
    assert len(data.train_labels) == 100
    shutil.rmtree(root)
    root.mkdir()
    archive.rename(root / archive.name)  # nothing is left to download
    assert len(catalogue.load("cifar10", resolution=32, root=root).train_labels) == 100


def test_a_failed_download_names_a_damaged_archive_and_the_files_to_provide(
    archive: Path, tmp_path: Path
) -> None:
    root, content = tmp_path / "root", archive.read_bytes()
    archive.unlink()
    line = catch_line(lambda: load(root))
    assert "download failed (" in line
    assert "cifar-10-batches-py/" in line
    assert "plain_text/ with train-*.parquet and test-*.parquet" in line
    (root / archive.name).write_bytes(content[:-10])
    line = catch_line(lambda: load(root))
    assert f"{root / archive.name} is truncated or modified" in line
    assert "put cifar-10-batches-py/" in line
    archive.write_bytes(content)  # now the download succeeds and replaces the archive
    load(root)


def test_an_archive_that_cannot_be_extracted_is_one_line(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive.write_bytes(b"no archive")
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(b"no archive").hexdigest())
    assert "download failed (" in catch_line(lambda: load(tmp_path / "root"))
