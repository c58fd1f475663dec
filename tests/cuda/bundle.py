"""`make cuda-bundle`: collect files for `make cuda` on a machine without a network.

    python -m tests.cuda.bundle DIR [--data NAME] [--data-root DIR] [--weights FILE]

The folder gets wheels for Python 3.12 on Linux. If a data set is given, it also gets 6,000 of its
images. If a weights file is given, it also gets the initial weights for the runs of `make cuda`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import Requirement

from bench.errors import UserError
from bench.files import expand_home
from tests.support.paths import ROOT

# Packages that a GPU machine has, with their requirements.
PRESENT = (
    "torch", "torchvision", "timm", "transformers", "pandas", "matplotlib", "scikit-learn", "scipy",
    "safetensors", "pytest", "hypothesis", "jinja2",
)  # fmt: skip
# Packages that `make cuda` does without: uploads need a network, and the bundle's images are an
# image folder, not the parquet files that pyarrow reads.
UNUSED = ("wandb", "pyarrow")
# Packages that are always bundled, because the version on the GPU machine may be too old.
ALWAYS = ("filelock", "pydantic", "pydantic-core", "annotated-types", "typing-inspection")
TESTING = ("pytest-xdist",)
PYTHON = "3.12"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
TRAIN, EVALUATED = 4000, 2000
MOST_BYTES = 60 * 2**20


def find_missing(present: tuple[str, ...] = PRESENT) -> list[str]:
    """Return the packages that the project needs and a GPU machine lacks, sorted by name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [Requirement(text).name for text in project["dependencies"]]
    wanted = _collect([name for name in names if name not in UNUSED] + list(TESTING))
    return sorted(wanted - (_collect(list(present)) - set(ALWAYS)))


def _collect(names: list[str]) -> set[str]:
    """Return the normalised names of packages and of their requirements in this environment."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        found.add(name)
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        for text in requirements:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name)
    return found


def fetch_wheels(folder: Path) -> None:
    """Download a wheel of each missing package, in the version installed here.

    Raises UserError if a wheel does not fit Python 3.12.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    target = ["--only-binary=:all:", "--python-version", PYTHON, "--implementation", "cp"]
    target += [word for platform in PLATFORMS for word in ("--platform", platform)]
    for name in find_missing():
        wanted = f"{name}=={version(name)}"
        command = [*pip, "download", "--no-deps", "--dest", str(folder), *target, wanted]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            # Build a missing wheel here. It fits other machines only if it is pure Python.
            subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), wanted], check=True)
    fits = re.compile(r"-none-any\.whl$|-cp312-|-abi3-")
    others = [path.name for path in folder.glob("*.whl") if not fits.search(path.name)]
    if others:
        raise UserError(f"no wheel for Python {PYTHON}: {', '.join(others)}")


def write_images(folder: Path, name: str, root: Path | None) -> None:
    """Write a class-balanced part of a data set as an image folder, with 32 × 32 pixels."""
    from PIL import Image

    from bench.data.catalogue import load
    from bench.data.interface.splits import select_balanced

    data = load(name, resolution=32, root=root, train_limit=TRAIN)
    chosen = select_balanced(data.eval_labels, data.classes, EVALUATED)
    parts = {
        "train": (data.train_images, data.train_labels),
        "val": (data.eval_images[chosen], data.eval_labels[chosen]),
    }
    shutil.rmtree(folder, ignore_errors=True)
    for part, (images, labels) in parts.items():
        for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            path = folder / part / f"class{label}" / f"{index:05}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)


def main() -> int:
    """Fill the folder and print its size. Return 2 on an error."""
    parser = argparse.ArgumentParser(description=__doc__, prog="make cuda-bundle")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--data", default="", help="image data set, for example cifar10 or folder:PATH"
    )
    parser.add_argument("--data-root", type=expand_home, help="folder that contains the data set")
    parser.add_argument("--weights", type=expand_home, help="safetensors file of MobileNetV2")
    args = parser.parse_args()
    try:
        fetch_wheels(args.folder / "wheels")
        if args.data:
            write_images(args.folder / "images", args.data, args.data_root)
        if args.weights:
            shutil.copy(args.weights, args.folder / "mobilenet_v2.safetensors")
        size = sum(path.stat().st_size for path in args.folder.rglob("*") if path.is_file())
        if size > MOST_BYTES:
            raise UserError(
                f"{args.folder} has {size / 2**20:.0f} MiB; the limit is {MOST_BYTES >> 20} MiB"
            )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{args.folder}: {size / 2**20:.1f} MiB; bundled packages: {', '.join(find_missing())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
