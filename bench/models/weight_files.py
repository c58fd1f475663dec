"""Weights files: reading of safetensors, and conversion of other files into safetensors.

Runs read safetensors only, because a pickle can execute any code. The conversion
`python -m bench.models.weight_files FILE` executes nothing of what a pickle asks for.
"""

from __future__ import annotations

import argparse
import json
import pickletools
import re
import shlex
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.errors import UserError
from bench.files import get_utf8_path, replace_atomically

PICKLES = (".pth", ".pt", ".tar", ".bin", ".ckpt", ".pkl", ".pickle")
ZIP, PICKLE = b"PK\x03\x04", b"\x80"  # torch.save writes a zip file, or pickles before torch 1.6
INDEX = ".index.json"  # names the parts of weights in several files
PART = re.compile(r"(.+)-\d{5}-of-(\d{5})\.safetensors")
FOREIGN = {
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file with `git lfs pull`",
    b"<": "a web page; download the file itself",
}
# Keys under which training scripts put the weights next to the epoch and the optimizer.
WRAPPED = (
    "state_dict", "model", "model_state_dict", "module", "net", "network", "params", "weights",
    "model_ema", "ema_state_dict", "state_dict_ema", "ema", "student", "teacher",
)  # fmt: skip
DEPTH = 4  # maximum number of such keys inside each other
SHOWN, LENGTH = 12, 160  # maximum numbers of keys and of characters of an error in a message
LEGACY_PICKLES = 4  # before torch 1.6: magic number, protocol, system, and then the object
DEFAULTDICT = "collections.defaultdict"
RENAMED = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # names of Python 2 in pickles
SAVE_STATE = (
    "load it with the code that wrote it, save model.state_dict() there with torch.save, and "
    "convert that file"
)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a safetensors file. Raises UserError if it cannot be read."""
    if not path.is_file():
        raise UserError(f"weights {path}: no such file; pass --weights FILE.safetensors")
    try:
        with get_utf8_path(path) as name, safe_open(name, framework="pt") as file:
            # The file has keys(), but cannot be iterated over.
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"weights {path}: {_explain_fault(path, error)}") from None


def describe_part(path: Path) -> str:
    """Return how to join weights in several files if this is one of them, else ''."""
    match = PART.fullmatch(path.name)
    if not match or int(match[2]) == 1:
        return ""
    listed = sorted(p for p in path.parent.iterdir() if p.name.startswith(f"{match[1]}."))
    found = [p for p in listed if p.name.endswith(INDEX)]
    index = found[0] if found else path.with_name(f"{match[1]}.safetensors{INDEX}")
    needed = "" if found else f"put {index.name} and the other parts into the same folder, and "
    return f"is one part of {int(match[2])}; {needed}join them with: {format_conversion(index)}"


def format_conversion(path: Path, keep: str = "") -> str:
    """Return the shell command that executes `convert`."""
    # -P: a folder named bench in the working directory would take the place of this package.
    words = [sys.executable or "python", "-P", "-m", "bench.models.weight_files", str(path)]
    return shlex.join(words + ["--keep", keep] * bool(keep))


def convert(path: Path, keep: str = "") -> str:
    """Write the tensors of a file as safetensors next to it, and return a line that says so.

    path: a pickle, an index of parts, or a safetensors file. keep: key or name prefix of the
    tensors to keep, which is removed from their names. Raises UserError if no tensor has this key
    or prefix, or if the new file exists.
    """
    keep = keep.rstrip(".")
    value = _read_any(path)
    state = _find_state(value.get(keep)) if keep and isinstance(value, dict) else {}
    if not state:
        prefix = f"{keep}." if keep else ""
        state = {str(k): v for k, v in _find_state(value).items() if str(k).startswith(prefix)}
        state = {key.removeprefix(prefix): v for key, v in state.items()}
    tensors = {str(key): v for key, v in state.items() if torch.is_tensor(v)}
    if not tensors:
        raise UserError(f"{path}: {_explain_absence(value, keep)}")
    target = _name_target(path, keep)
    if target.exists():
        raise UserError(f"{target} exists; pass it to --weights, or move it and convert again")
    try:
        with replace_atomically(target) as temporary:
            save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, temporary)
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{target} cannot be written ({_join_lines(error)[:LENGTH]})") from None
    others = [str(key) for key in state if str(key) not in tensors]
    left = f"; left out {_list_names(others)}, not tensors" if others else ""
    return f"{target}: {len(tensors)} tensors{left}{'' if keep else _describe_copies(value)}"


def main() -> int:
    """Convert the file that the command line names. Return 2 if that fails."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.models.weight_files", description="Convert weights to safetensors."
    )
    parser.add_argument("file", type=Path, help="pickle, index of parts, or safetensors file")
    parser.add_argument(
        "--keep", default="", metavar="KEY", help="keep only what is under this key"
    )
    args = parser.parse_args()
    try:
        print(convert(args.file, args.keep))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


class _Opaque:
    """Stand-in for any object of a pickle that is not a tensor. It stores and executes nothing."""

    origin = ""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __new__(cls, *_: object, **__: object) -> _Opaque:
        """Accept the arguments of any class."""
        return super().__new__(cls)

    def __setstate__(self, state: object) -> None:
        """Ignore the attributes of the object."""


def _make_dict(*_: object) -> OrderedDict[Any, Any]:
    """Return an empty dict of a class whose items torch's restricted unpickler sets."""
    return OrderedDict()


def _read_any(path: Path) -> Any:
    if path.name.endswith(INDEX) and path.is_file():
        return _read_parts(path)
    return _read_pickle(path) if path.is_file() and _is_pickle(path) else read_weights(path)


def _read_parts(index: Path) -> dict[str, Any]:
    try:
        parts = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{index} does not name the files of the weights; replace it by the model's own file"
        ) from None
    return {k: v for part in parts for k, v in _find_state(_read_any(index.parent / part)).items()}


def _read_pickle(path: Path) -> Any:
    """Return the object in a file of torch.save, with an `_Opaque` for each unknown object."""
    try:
        names = _list_globals(path) - {DEFAULTDICT}
        stand_ins: list[Any] = [(type("_Opaque", (_Opaque,), {"origin": n}), n) for n in names]
        stand_ins.append((_make_dict, DEFAULTDICT))
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles raise errors of many classes
        # torch first explains how to execute the code after all.
        reason = _join_lines(error).rpartition("WeightsUnpickler error: ")[2][:LENGTH]
        raise UserError(
            f"{path}: cannot be read without executing code ({reason}); {SAVE_STATE}"
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


def _is_pickle(path: Path) -> bool:
    return _read_start(path).startswith(PICKLE) or _find_pickle_in_zip(path) != ""


def _read_start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(32)


def _find_state(value: Any, depth: int = DEPTH) -> dict[Any, Any]:
    """Return the first dict with tensors under the keys of `WRAPPED`, else the value itself.

    Returns an empty dict if there are no tensors.
    """
    if not isinstance(value, dict) or not depth:
        return {}
    for key in WRAPPED:
        if found := _find_state(value.get(key), depth - 1):
            return found
    return value if any(torch.is_tensor(each) for each in value.values()) else {}


def _describe_copies(value: Any) -> str:
    """Return which of several copies in a pickle is kept, for example the moving average, or ''."""
    copies = [key for key in WRAPPED if isinstance(value, dict) and _find_state(value.get(key))]
    if len(copies) < 2:
        return ""
    return f"; from {copies[0]}, and --keep selects another of {', '.join(copies[1:])}"


def _name_target(path: Path, keep: str) -> Path:
    target = path.with_name(path.name.removesuffix(INDEX))
    removed = (*PICKLES, *[".safetensors"] * (keep != "" or target != path))
    while target.suffix.lower() in removed:
        target = target.with_suffix("")
    part = f".{keep.replace('/', '_')}" if keep else ""
    return target.with_name(f"{target.name}{part}.safetensors")


def _explain_fault(path: Path, error: Exception) -> str:
    """Return why a file is not a safetensors file, and what to do."""
    start, command = _read_start(path), format_conversion(path)
    if not start:
        return "not a readable safetensors file (it is empty); download or copy it again"
    if path.name.endswith(INDEX):
        return f"an index of weights in several files; join them with: {command}"
    if _is_pickle(path):
        return f"a pickle, which can execute any code; convert it with: {command}"
    if start.startswith(ZIP) and zipfile.is_zipfile(path):
        kind = "NumPy arrays" if path.suffix.lower() == ".npz" else "other files"
        return f"a zip file of {kind}, not of torch.save; use another file"
    if start.startswith(ZIP):
        return "a damaged zip file; download or copy it again"
    for first, kind in FOREIGN.items():
        if start.startswith(first):
            return kind
    return f"not a readable safetensors file ({_join_lines(error)[:LENGTH]}); use another file"


def _explain_absence(value: Any, keep: str) -> str:
    """Return what a file holds instead of tensors, and what to do."""
    if isinstance(value, _Opaque):
        return f"an object of class {value.origin}, which only its own code can read; {SAVE_STATE}"
    if not isinstance(value, dict):
        return f"no tensors, but a {type(value).__name__}; {SAVE_STATE}"
    under = f" under {keep}" if keep else ""
    names = [f"{k} ({v.origin})" if isinstance(v, _Opaque) else str(k) for k, v in value.items()]
    return f"no tensors{under}; keys: {_list_names(names)}; pass --keep KEY, or {SAVE_STATE}"


def _list_names(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + f" and {len(names) - SHOWN} more" * (len(names) > SHOWN)


def _join_lines(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
