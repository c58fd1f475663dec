"""Reading of weights files: safetensors only, because a pickle can execute any code."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from bench.errors import UserError
from bench.files import get_utf8_path

PICKLES = (".pth", ".pt", ".tar", ".bin", ".ckpt", ".pkl", ".pickle")
MAGIC = (b"PK\x03\x04", b"\x80")  # torch.save writes a zip file, or a bare pickle before torch 1.6
# Keys under which training scripts put the weights next to the epoch and the optimizer.
WRAPPED = (
    "state_dict", "model", "model_state_dict", "module", "net", "network", "params", "weights",
)  # fmt: skip


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return all tensors of a safetensors file. Raises UserError if it cannot be read."""
    if not path.is_file():
        raise UserError(f"weights {path}: no such file; pass --weights FILE.safetensors")
    try:
        with get_utf8_path(path) as name, safe_open(name, framework="pt") as file:
            # The file has keys(), but cannot be iterated over.
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        if path.suffix.lower() in PICKLES or _read_start(path).startswith(MAGIC):
            raise UserError(
                f"weights {path}: a pickle, which can execute any code; convert it with: "
                f"{_format_conversion(path)}"
            ) from None
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"weights {path}: not a readable safetensors file ({reason}); use another file"
        ) from None


def _read_start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _format_conversion(path: Path) -> str:
    """Return the shell command that converts a pickle into safetensors, without executing code.

    Training scripts often store their options as argparse.Namespace, which holds plain values.
    """
    target = path
    while target.suffix.lower() in PICKLES:
        target = target.with_suffix("")
    keys = ", ".join(json.dumps(key) for key in WRAPPED)
    source, result = (json.dumps(str(p)) for p in (path, f"{target}.safetensors"))
    script = (
        "import argparse, functools, torch, safetensors.torch as s; "
        "torch.serialization.add_safe_globals([argparse.Namespace]); "
        f'd = torch.load({source}, map_location="cpu", weights_only=True); '
        "d = functools.reduce(lambda d, k: d[k] if isinstance(d.get(k), dict) else d, "
        f"({keys}) * 2, d); "
        "s.save_file({k: v.clone().contiguous() for k, v in d.items() if torch.is_tensor(v)}, "
        f"{result})"
    )
    return f"python -c {shlex.quote(script)}"
