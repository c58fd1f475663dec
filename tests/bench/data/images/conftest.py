"""Image folder of three classes for the tests of images."""

from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Write two images per class and split."""
    for split in ("train", "val"):
        for name in ("ant", "bee", "cow"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(2):
                Image.new("RGB", (20, 20)).save(tmp_path / split / name / f"{i}.png")
    return tmp_path
