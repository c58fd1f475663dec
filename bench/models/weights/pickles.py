"""Reading of pickles without executing what they ask for."""

from __future__ import annotations

import pickletools
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch

from bench.errors import UserError

PICKLE = b"\x80"  # torch.save writes a zip file, or pickles before torch 1.6
# A safetensors file begins with the size of its header (8 bytes, of which the last are zero) and
# the header. The first byte may equal PICKLE.
SAFETENSORS = b"\0\0\0\0{"
LEGACY_PICKLES = 4  # before torch 1.6: magic number, protocol, system, and then the object
DEFAULTDICT = "collections.defaultdict"
RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # names of Python 2 in pickles
LENGTH = 160  # maximum number of characters of an error in a message
SAVE_STATE = (
    "load it with the code that wrote it, save model.state_dict() there with torch.save, and "
    "convert that file"
)


class Opaque:
    """Stand-in for any object of a pickle that is not a tensor. It stores and executes nothing."""

    origin = ""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __new__(cls, *_: object, **__: object) -> Opaque:
        """Accept the arguments of any class."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Ignore the attributes of the object."""


def _make_dict(*_: object) -> OrderedDict[Any, Any]:
    """Return an empty OrderedDict, because torch's restricted unpickler can set its items."""
    return OrderedDict()


def read_pickle(path: Path) -> Any:
    """Return the object in a file of torch.save, with an `Opaque` for each unknown object."""
    try:
        names = _list_globals(path) - {DEFAULTDICT}
        stand_ins: list[Any] = [(type("Opaque", (Opaque,), {"origin": n}), n) for n in names]
        stand_ins.append((_make_dict, DEFAULTDICT))
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles raise errors of many classes
        # torch first explains how to execute the code after all.
        reason = " ".join(str(error).rpartition("WeightsUnpickler error: ")[2].split())[:LENGTH]
        raise UserError(
            f"{path}: damaged, or cannot be read without executing code ({reason}); download it "
            f"again, or {SAVE_STATE}"
        ) from None


def _list_globals(path: Path) -> set[str]:
    """Return the names of the classes and functions in a pickle, without importing them."""
    with path.open("rb") as file:
        if name := _find_pickle_in_zip(path):
            with zipfile.ZipFile(file) as archive, archive.open(name) as inner:
                return set(_iterate_globals(inner))
        return {name for _ in range(LEGACY_PICKLES) for name in _iterate_globals(file)}


def _iterate_globals(stream: IO[bytes]) -> Iterator[str]:
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name == "GLOBAL":
            module, _, name = str(argument).partition(" ")
            yield f"{RENAMED.get(module, module)}.{name}"


def _find_pickle_in_zip(path: Path) -> str:
    """Return the name of the pickle in a zip file of torch.save, or ''."""
    try:
        with zipfile.ZipFile(path) as archive:
            return next((n for n in archive.namelist() if n.endswith("/data.pkl")), "")
    except (zipfile.BadZipFile, OSError):
        return ""


def is_pickle(path: Path) -> bool:
    """Return whether a file is a pickle, or a zip file of torch.save that contains one."""
    start = read_start(path)
    if start[4:9] == SAFETENSORS:
        return False
    return start.startswith(PICKLE) or _find_pickle_in_zip(path) != ""


def read_start(path: Path) -> bytes:
    """Return the first bytes of a file, from which the format can be told."""
    with path.open("rb") as file:
        return file.read(32)
