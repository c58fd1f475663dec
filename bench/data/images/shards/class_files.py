"""Image files below a class folder, in formats that are read and in formats that are refused."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.data.images.shards.shard_files import is_visible
from bench.errors import UserError

# The extensions of torchvision's ImageFolder; a test compares the two lists.
IMG_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
)  # fmt: skip
# Other image files. They are refused, since a run without them would miss them in silence.
OTHER_IMAGES = (
    ".gif", ".jfif", ".jpe", ".jp2", ".jxl", ".avif", ".heic", ".heif", ".apng", ".tga", ".dib",
    ".pbm", ".pnm", ".svg", ".dcm",
)  # fmt: skip
# Files that often accompany each image. They are not opened, because that takes time.
NOTES = (".txt", ".json", ".xml", ".csv")
# First bytes of image files (PNG, JPEG, GIF, BMP, TIFF and camera files, WebP, ICO, JPEG 2000,
# JPEG XL, HEIF and AVIF, Photoshop, OpenEXR) and of NumPy arrays.
SIGNATURES = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|BM.{4}\0{4}|II[*+]\0|MM\0[*+]|RIFF.{4}WEBP|\0\0\x01\0"
    rb"|\xff\x4f\xff\x51|\0\0\0\x0c(jP|JXL) |.{4}ftyp(hei|hev|mif1|msf1|avi[fs])|8BPS|v/1\x01"
    rb"|\x93NUMPY",
    re.DOTALL,
)


def format_path(path: object) -> str:
    """Return a path as printable text on one line: escape line breaks and undecodable bytes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(path))


def refuse_other_images(files: Mapping[str, Sequence[Path]]) -> None:
    """Raise UserError if a file of any class is an image in a format that is not read.

    files: image files by class.
    """
    others = [p for paths in files.values() for p in paths if not has_read_format(p)]
    if others:
        more = f" (one of {len(others)} such files)" if len(others) > 1 else ""
        kind = f"{format_path(others[0].suffix)} images" if others[0].suffix else "images"
        named = "" if others[0].suffix else " without an extension"
        raise UserError(
            f"{format_path(others[0])}: {kind}{named} are not read{more}; convert them to .png or "
            ".jpg, rename them if they have one of these formats, or remove them"
        )


def has_read_format(path: Path) -> bool:
    """Return whether the extension of a file belongs to a format that is read."""
    return path.suffix.lower() in IMG_EXTENSIONS


def walk(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """Yield the image files below a folder, also behind links, as torchvision's ImageFolder does.

    Images in formats that are not read are included.
    above: device and inode of each folder around `folder`. A link to one of them is not followed,
    because the walk would never end.
    """
    here = identify(folder)
    if here in above:
        return
    entries = [(folder / e.name, e.is_dir(), e.is_file()) for e in scan(folder)]
    for path, is_folder, is_file in entries:
        if is_folder:
            yield from walk(path, (*above, here))
        elif is_file and (has_read_format(path) or _is_other_image(path)):
            yield path


def _is_other_image(path: Path) -> bool:
    """Return whether the extension or the first bytes of a file are those of an image."""
    suffix = path.suffix.lower()
    if suffix in OTHER_IMAGES or suffix in NOTES:
        return suffix in OTHER_IMAGES
    try:
        with path.open("rb", buffering=0) as file:
            return SIGNATURES.match(file.read(16)) is not None
    except OSError:  # unreadable notes are no reason to stop
        return False


def scan(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are neither hidden nor added by an operating system.

    Raises UserError for a link without a target, because images may be missing.
    """
    with os.scandir(folder) as entries:
        found = [e for e in entries if is_visible(e.name)]
    for entry in found:
        if entry.is_symlink():
            refuse_broken_link(folder / entry.name)
    return found


def refuse_broken_link(path: Path) -> None:
    """Raise UserError if a path is a link that leads to no file or folder."""
    if path.is_symlink() and (fault := _find_fault(path)):
        raise UserError(
            f"{format_path(path)}: a link to {format_path(path.readlink())}, which {fault}; "
            "restore the target, or remove the link"
        )


def _find_fault(link: Path) -> str:
    """Return why a link leads to no file or folder, or ""."""
    try:
        link.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "leads back to the link itself"
        return "does not exist" if error.errno in (errno.ENOENT, errno.ENOTDIR) else ""
    return ""


def identify(place: Path) -> tuple[int, int]:
    """Return the device and inode of a file or folder, which are the same behind any link."""
    facts = place.stat()
    return facts.st_dev, facts.st_ino
