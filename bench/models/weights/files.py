"""Weights files: reading of safetensors, and conversion of other files into safetensors.

Runs read safetensors only, because a pickle can execute any code. The conversion
`python -m bench.models.weights.files FILE` executes nothing of what a pickle asks for.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.errors import UserError, summarise_error
from bench.files import get_utf8_path, replace_atomically
from bench.models.weights.pickles import (
    SAVE_STATE,
    Opaque,
    is_pickle,
    read_pickle,
    read_start,
)

PICKLES = (".pth", ".pt", ".tar", ".bin", ".ckpt", ".pkl", ".pickle")
ZIP = b"PK\x03\x04"
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
EXTRA = "_extra_state"  # torch ends the name of a module's extra state with this
SHOWN = 12  # maximum number of keys in a message


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a safetensors file. Raises UserError if it cannot be read."""
    refuse_folder(path)
    if not path.is_file():
        raise UserError(f"weights {path}: no such file; pass --weights FILE.safetensors")
    try:
        with get_utf8_path(path) as name, safe_open(name, framework="pt") as file:
            # The file has keys(), but cannot be iterated over.
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"weights {path}: {_explain_fault(path, error)}") from None


def refuse_folder(path: Path) -> None:
    """Raise UserError if a path is a folder. The message names a file of weights in it."""
    if not path.is_dir():
        return
    names = sorted(p.name for p in path.iterdir() if p.suffix in (".safetensors", *PICKLES))
    names = sorted(p.name for p in path.glob(f"*{INDEX}")) + names
    such = f", such as {path / names[0]}" if names else ""
    raise UserError(f"weights {path}: is a folder; pass the file in it{such}")


def describe_part(path: Path) -> str:
    """Return how to join the parts of the weights if a file is one of several, else ''."""
    match = PART.fullmatch(path.name)
    if not match or int(match[2]) == 1:
        return ""
    listed = sorted(p for p in path.parent.iterdir() if p.name.startswith(f"{match[1]}."))
    found = [p for p in listed if p.name.endswith(INDEX)]
    index = found[0] if found else path.with_name(f"{match[1]}.safetensors{INDEX}")
    needed = "" if found else f"put {index.name} and the other parts into the same folder, and "
    return f"is one part of {int(match[2])}; {needed}join them with: {format_conversion(index)}"


def format_conversion(path: Path, keep: str = "", drop: Sequence[str] = ()) -> str:
    """Return the shell command that executes `convert`."""
    # -P: a folder named bench in the working directory would take the place of this package.
    words = [sys.executable or "python", "-P", "-m", "bench.models.weights.files", str(path)]
    options = ["--keep", keep] * bool(keep) + ["--drop", ",".join(drop)] * bool(drop)
    return shlex.join(words + options)


def convert(path: Path, keep: str = "", drop: Sequence[str] = ()) -> str:
    """Write the tensors of a file as safetensors next to it, and return a line that says so.

    path: a pickle, an index of parts, or a safetensors file.
    keep: key or name prefix of the tensors to keep, which is removed from their names.
    drop: name prefixes of the tensors to leave out. The names are those in the file.
    Raises UserError if `keep`, or a prefix in `drop`, matches no tensor. Raises UserError if
    safetensors cannot store a tensor, or if the new file exists.
    """
    keep, drop = keep.rstrip("."), [prefix.rstrip(".") for prefix in drop]
    value = _read_any(path)
    for prefix in drop:
        if not _has_name(value, prefix):
            raise UserError(f"{path}: no tensor is under {prefix}; correct --drop")
    value = _leave_out(value, drop)
    state = _find_state(value.get(keep)) if keep and isinstance(value, dict) else {}
    if not state:
        prefix = f"{keep}." if keep else ""
        state = {str(k): v for k, v in _find_state(value).items() if str(k).startswith(prefix)}
        state = {key.removeprefix(prefix): v for key, v in state.items()}
    tensors = {str(key): v for key, v in state.items() if torch.is_tensor(v)}
    if not tensors:
        raise UserError(f"{path}: {_explain_absence(value, keep)}")
    target = _name_target(path, keep, drop)
    if target.exists():
        raise UserError(f"{target} exists; pass it to --weights, or move it and convert again")
    _write(tensors, path, target)
    others = [str(key) for key in state if str(key) not in tensors]
    left = f"; left out what is not a tensor: {_list_names(others)}" if others else ""
    count = f"{len(tensors)} tensor" + "s" * (len(tensors) != 1)
    return f"{target}: {count}{left}{'' if keep else _describe_copies(value)}"


def is_under(key: str, prefixes: Sequence[str]) -> bool:
    """Return whether a tensor name equals one of the module names `prefixes`, or lies below one."""
    return any(key == prefix or key.startswith(prefix + ".") for prefix in prefixes)


def main() -> int:
    """Convert the file that the command line names. Return 2 if that fails."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.models.weights.files", description="Convert weights to safetensors."
    )
    parser.add_argument("file", type=Path, help="pickle, index of parts, or safetensors file")
    parser.add_argument(
        "--keep", default="", metavar="KEY", help="keep only what is under this key"
    )
    parser.add_argument(
        "--drop", default="", metavar="PREFIX,…", help="leave out tensors with these name prefixes"
    )
    args = parser.parse_args()
    drop = [prefix.strip() for prefix in args.drop.split(",") if prefix.strip()]
    try:
        print(convert(args.file, args.keep, drop))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _read_any(path: Path) -> Any:
    if path.name.endswith(INDEX) and path.is_file():
        return _read_parts(path)
    return read_pickle(path) if path.is_file() and is_pickle(path) else read_weights(path)


def _read_parts(index: Path) -> dict[str, Any]:
    try:
        parts = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(
            f"{index} does not name the files of the weights; replace it by the model's own file"
        ) from None
    missing = [part for part in parts if not (index.parent / part).is_file()]
    if missing:
        raise UserError(
            f"{index}: needs {_list_names(missing)}, not found in {index.parent}; put all "
            f"{len(parts)} parts into it"
        )
    return {k: v for part in parts for k, v in _find_state(_read_any(index.parent / part)).items()}


def _find_state(value: Any, depth: int = DEPTH) -> dict[Any, Any]:
    """Return the first dict with tensors under the keys of `WRAPPED`, else the value itself.

    Returns {} if the value has no tensors, or if it has tensors next to a dict with tensors. The
    inner dict may contain the weights, while the tensor next to it is only the best accuracy.
    """
    if not isinstance(value, dict) or not depth:
        return {}
    for key in WRAPPED:
        if found := _find_state(value.get(key), depth - 1):
            return found
    direct = any(torch.is_tensor(each) for each in value.values())
    return value if direct and not _list_states(value, depth - 1) else {}


def _list_states(value: dict[Any, Any], depth: int = DEPTH) -> list[str]:
    """Return those keys of a dict that hold dicts with tensors."""
    keys = [key for key, each in value.items() if _find_state(each, depth)]
    return [str(key) for key in keys if not str(key).endswith(EXTRA)]


def _has_name(value: Any, prefix: str, depth: int = DEPTH) -> bool:
    """Return whether a dict, or one inside it, has a name with this prefix."""
    if not isinstance(value, dict) or not depth:
        return False
    return any(
        is_under(str(key), [prefix]) or _has_name(each, prefix, depth - 1)
        for key, each in value.items()
    )


def _leave_out(value: Any, drop: Sequence[str], depth: int = DEPTH) -> Any:
    """Return a dict without the names under the prefixes in `drop`, also in dicts inside it."""
    if not isinstance(value, dict) or not depth:
        return value
    return {
        key: _leave_out(each, drop, depth - 1)
        for key, each in value.items()
        if not is_under(str(key), drop)
    }


def _write(tensors: dict[str, Tensor], path: Path, target: Path) -> None:
    """Write the tensors of a file as safetensors. Raises UserError if that fails."""
    for key, value in tensors.items():
        if value.layout != torch.strided:
            raise UserError(f"{path}: {key} is sparse; {_advise_dense(key)}")
    try:
        with replace_atomically(target) as temporary:
            save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, temporary)
    except KeyError as error:  # safetensors looks the dtype up in a table
        dtype = error.args[0]
        key = next((k for k, v in tensors.items() if v.dtype == dtype), "a tensor")
        raise UserError(f"{path}: {key} has dtype {dtype}; {_advise_dense(key)}") from None
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{target} cannot be written ({summarise_error(error)})") from None


def _advise_dense(key: str) -> str:
    return (
        "safetensors cannot store that, so use a file with dense float32, float16 or bfloat16 "
        f"weights, or pass --drop {key} if the model does not need it"
    )


def _describe_copies(value: Any) -> str:
    """Return which of several copies of the weights, such as a moving average, is kept, or ''."""
    copies = [key for key in WRAPPED if isinstance(value, dict) and _find_state(value.get(key))]
    if len(copies) < 2:
        return ""
    return f"; taken from {copies[0]}; --keep KEY takes another copy ({', '.join(copies[1:])})"


def _name_target(path: Path, keep: str, drop: Sequence[str]) -> Path:
    target = path.with_name(path.name.removesuffix(INDEX))
    removed = (*PICKLES, *[".safetensors"] * (bool(keep or drop) or target != path))
    while target.suffix.lower() in removed:
        target = target.with_suffix("")
    part = f".{keep.replace('/', '_')}" * bool(keep) + ".reduced" * bool(drop)
    return target.with_name(f"{target.name}{part}.safetensors")


def _explain_fault(path: Path, error: Exception) -> str:
    """Return why a file is not a safetensors file, and what to do."""
    start, command = read_start(path), format_conversion(path)
    if not start:
        return "not a readable safetensors file (it is empty); download or copy it again"
    if path.name.endswith(INDEX):
        return f"an index of weights in several files; join them with: {command}"
    if is_pickle(path):
        return f"a pickle, which can execute any code; convert it with: {command}"
    if start.startswith(ZIP) and zipfile.is_zipfile(path):
        kind = "NumPy arrays" if path.suffix.lower() == ".npz" else "other files"
        return f"a zip file with {kind}, which torch.save did not write; use another file"
    if start.startswith(ZIP):
        return "a damaged zip file; download or copy it again"
    for first, kind in FOREIGN.items():
        if start.startswith(first):
            return kind
    return f"not a readable safetensors file ({summarise_error(error)}); use another file"


def _explain_absence(value: Any, keep: str) -> str:
    """Return what a file holds instead of tensors, and what to do."""
    if isinstance(value, Opaque):
        return f"an object of class {value.origin}, which only its own code can read; {SAVE_STATE}"
    if not isinstance(value, dict):
        return f"no tensors, but a {type(value).__name__}; {SAVE_STATE}"
    if not keep and (nested := _list_states(value)):
        return f"tensors are under {_list_names(nested)}; pass --keep {nested[0]}"
    under = f" under {keep}" if keep else ""
    names = [f"{k} ({v.origin})" if isinstance(v, Opaque) else str(k) for k, v in value.items()]
    keys = _list_names(names) or "none"
    return f"no tensors{under}; keys: {keys}; pass --keep KEY, or {SAVE_STATE}"


def _list_names(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + f" and {len(names) - SHOWN} more" * (len(names) > SHOWN)


if __name__ == "__main__":
    sys.exit(main())
