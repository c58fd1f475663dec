"""Tests of weight files in other formats: the error, and the output of the conversion it names."""

import argparse
import collections
import json
import pathlib
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bench.errors import UserError
from bench.models.weights.files import convert, describe_part, main, read_weights

STATE = {"a.weight": torch.tensor([1.0]), "b.weight": torch.tensor([2.0])}
OTHER = {"a.weight": torch.tensor([9.0])}
# As timm, DINO and Lightning store their options and statistics.
OPTIONS = argparse.Namespace(lr=0.1, output=pathlib.PurePosixPath("/x"))
COUNTS = collections.defaultdict(list, {"loss": [np.float64(0.5)]})


class Executed:
    """Object whose pickle calls `fail` when it is read by an unrestricted unpickler."""

    def __reduce__(self):
        return fail, ()


def fail():
    pytest.fail("the pickle was executed")


def refuse(path):
    with pytest.raises(UserError) as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def run_command(monkeypatch, message):
    """Execute in this process the command at the end of an error, and return its status."""
    words = shlex.split(message.partition(" with: ")[2])
    assert words[:4] == [sys.executable, "-P", "-m", "bench.models.weights.files"]
    monkeypatch.setattr(sys, "argv", words[3:])
    return main()


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".pth", STATE),
        (".pth.tar", {"state_dict": STATE, "epoch": 3, "args": OPTIONS}),
        (".bin", {"model": {"state_dict": STATE}}),
        (".ckpt", {"module": STATE, "best": np.float64(3), "counts": COUNTS}),
        ("", {"model_state_dict": STATE, "weights": [1.0, 2.0], "array": np.ones(2)}),
        (".pt", {"model_ema": STATE, "model": pathlib.PurePosixPath("/x")}),
        (".pth", {"teacher": OTHER, "student": STATE, "dtype": np.dtype("float32")}),
        (".pth", {"state_dict_ema": OTHER, "params": {"lr": 0.1}, "state_dict": STATE}),
        (".pth", {"model": STATE, "hook": Executed()}),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_command_in_the_error_converts_a_pickle(
    tmp_path, monkeypatch, suffix, content, zipped
) -> None:
    path = tmp_path / f"w of 'mine'{suffix}"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    message = refuse(path)
    assert "a pickle, which can execute any code; convert it with: " in message
    assert run_command(monkeypatch, message) == 0
    written = load_file(tmp_path / "w of 'mine'.safetensors")
    assert written.keys() == STATE.keys()
    assert all(torch.equal(written[key], value) for key, value in STATE.items())


def test_command_works_in_a_folder_that_contains_another_bench(tmp_path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").touch()
    torch.save({"teacher": OTHER, "student": STATE}, tmp_path / "w.pth")
    command = shlex.split(refuse(tmp_path / "w.pth").partition(" with: ")[2])
    command += ["--keep", "teacher"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert load_file(tmp_path / "w.teacher.safetensors") == OTHER


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3, "net_g": {"x": 1}}, "no tensors; keys: epoch, net_g; "),
        ({"model": nn.Linear(1, 1)}, "no tensors; keys: model (torch.nn.modules.linear.Linear); "),
        (nn.Linear(1, 1), "an object of class torch.nn.modules.linear.Linear"),
        ([STATE], "no tensors, but a list; "),
    ],
)
def test_a_pickle_without_tensors_by_name_writes_no_file(
    tmp_path, monkeypatch, capsys, content, words
) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path)
    assert run_command(monkeypatch, refuse(path)) == 2
    message = capsys.readouterr().err
    assert words in message
    assert "save model.state_dict()" in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_pickle_that_cannot_be_read_safely_names_the_reason(tmp_path, monkeypatch, capsys):
    path = tmp_path / "w.pth"
    torch.save(STATE, path, pickle_protocol=4)
    assert run_command(monkeypatch, refuse(path)) == 2
    message = capsys.readouterr().err
    assert "cannot be read without executing code (Unsupported operand" in message
    assert "save model.state_dict()" in message


def test_the_conversion_replaces_no_file(tmp_path, monkeypatch, capsys) -> None:
    torch.save(STATE, tmp_path / "w.pth")
    save_file(OTHER, tmp_path / "w.safetensors")
    assert run_command(monkeypatch, refuse(tmp_path / "w.pth")) == 2
    assert "w.safetensors exists; pass it to --weights" in capsys.readouterr().err
    assert load_file(tmp_path / "w.safetensors") == OTHER


def test_the_conversion_names_the_copies_that_it_leaves_out(tmp_path, monkeypatch, capsys) -> None:
    torch.save({"teacher": OTHER, "student": STATE}, tmp_path / "w.pth")
    assert run_command(monkeypatch, refuse(tmp_path / "w.pth")) == 0
    assert "2 tensors; taken from student; --keep KEY takes another copy (teacher)" in (
        capsys.readouterr().out
    )


def test_a_tensor_beside_a_dict_of_tensors_is_not_taken_for_the_weights(tmp_path) -> None:
    """Ask for --keep if a tensor, such as the best accuracy, is beside a dict of tensors.

    Extra state of a module is not such a dict.
    """
    path = tmp_path / "w.pth"
    torch.save({"epoch": 3, "encoder": STATE, "best": torch.tensor(93.0)}, path)
    with pytest.raises(UserError, match=r"tensors are under encoder; pass --keep encoder$"):
        convert(path)
    convert(path, keep="encoder")
    assert load_file(tmp_path / "w.encoder.safetensors") == STATE
    torch.save({**STATE, "a._extra_state": {"scale": torch.ones(1)}}, path)
    convert(path)
    assert load_file(tmp_path / "w.safetensors") == STATE


@pytest.mark.parametrize("kind", ["qint8", "complex32", "sparse"])
@pytest.mark.filterwarnings("ignore")  # torch warns of rare dtypes
def test_a_tensor_that_safetensors_cannot_store_is_named(tmp_path, kind) -> None:
    fault = {
        "qint8": lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "complex32": lambda: torch.zeros(2, dtype=torch.complex32),
        "sparse": lambda: torch.eye(2).to_sparse(),
    }[kind]()
    path = tmp_path / "w.pth"
    torch.save({**STATE, "c.weight": fault}, path)
    with pytest.raises(UserError, match=rf"w\.pth: c\.weight .*{kind}.*--drop c\.weight") as caught:
        convert(path)
    assert "\n" not in str(caught.value)
    convert(path, drop=["c"])
    assert load_file(tmp_path / "w.reduced.safetensors") == STATE


def test_prefixes_are_left_out_on_the_command_line(tmp_path, monkeypatch, capsys) -> None:
    path = tmp_path / "w.pth"
    more = {"head.weight": torch.ones(1), "head2.weight": torch.ones(1), "queue": torch.ones(1)}
    torch.save({"model": STATE | more, "epoch": 3}, path)
    for drop in ("head,queue,none", "head,queue"):
        monkeypatch.setattr(sys, "argv", ["files", str(path), "--drop", drop])
        assert main() == (2 if "none" in drop else 0)
    written = load_file(tmp_path / "w.reduced.safetensors")
    assert written.keys() == {*STATE, "head2.weight"}
    assert "no tensor is under none; " in capsys.readouterr().err


def test_every_size_of_header_is_safetensors(tmp_path) -> None:
    """Vary the header's size, whose first byte begins the file and may be that of a pickle."""
    for length in range(0, 256, 8):
        path = tmp_path / f"{length}.safetensors"
        save_file({"a.weight": torch.ones(1)}, path, metadata={"x": "y" * length})
        convert(path, keep="a")


def test_other_files_are_not_called_pickles(tmp_path) -> None:
    np.savez(tmp_path / "vit.npz", a=np.ones(3))
    torch.save(STATE, tmp_path / "cut.pth")
    whole = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.pth").touch()
    (tmp_path / "text.pth").write_bytes(b"hello" * 99)
    (tmp_path / "lfs.pth").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    for name, words in {
        "vit.npz": "a zip file with NumPy arrays",
        "cut.pth": "a damaged zip file; download",
        "empty.pth": "(it is empty); download",
        "text.pth": "not a readable safetensors file",
        "lfs.pth": "git lfs pull",
    }.items():
        message = refuse(tmp_path / name)
        assert words in message
        assert "convert" not in message


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_parts_are_joined_by_the_command_for_their_index(tmp_path, monkeypatch, kind) -> None:
    names = [f"model-0000{i}-of-00002.{kind}" for i in (1, 2)]
    for (key, value), name in zip(STATE.items(), names, strict=True):
        (save_file if kind == "safetensors" else torch.save)({key: value}, tmp_path / name)
    index = tmp_path / f"model.{kind}.index.json"
    index.write_text(json.dumps({"weight_map": dict(zip(STATE, names, strict=True))}))
    part = describe_part((tmp_path / names[0]).with_suffix(".safetensors"))
    assert part.startswith("is one part of 2; join them with: ")
    assert shlex.split(part)[-1] == str(index)
    assert run_command(monkeypatch, refuse(index)) == 0
    assert load_file(tmp_path / "model.safetensors") == STATE


def test_a_missing_part_is_named_with_the_folder(tmp_path, monkeypatch, capsys) -> None:
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    save_file({"a.weight": STATE["a.weight"]}, tmp_path / names[0])
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict(zip(STATE, names, strict=True))}))
    assert run_command(monkeypatch, refuse(index)) == 2
    words = f"{index}: needs {names[1]}, not found in {tmp_path}; put all 2 parts into it"
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("name", ["model.safetensors", "model.safetensors.index.json", ""])
def test_a_folder_is_named_as_such(tmp_path, name) -> None:
    if name:
        (tmp_path / name).touch()
    example = f", such as {tmp_path / name}" if name else ""
    for ask in (read_weights, convert):
        with pytest.raises(UserError) as caught:
            ask(tmp_path)
        words = f"weights {tmp_path}: is a folder; pass the file in it{example}"
        assert str(caught.value) == words


def test_a_part_without_its_index_names_the_index(tmp_path) -> None:
    part = describe_part(tmp_path / "model-00001-of-00002.safetensors")
    assert part.startswith("is one part of 2; put model.safetensors.index.json and the other parts")
    assert describe_part(tmp_path / "model-00001-of-00001.safetensors") == ""
    assert describe_part(tmp_path / "model.safetensors") == ""
