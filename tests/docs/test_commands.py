"""Every code block of the documentation runs, and every command in it exists."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bench.cli.main import build_parser
from tests.docs.blocks import (
    LANGUAGES,
    MARKERS,
    Block,
    find_blocks,
    find_inline_commands,
    list_pages,
)
from tests.support.paths import ROOT

PAGES = list_pages()
BLOCKS = [block for page in PAGES for block in find_blocks(page)]
MOST_MARKERS = 21
# Sweeps are executed with these options, because the full ones take minutes to hours.
SHORT = "--seeds 1 --epochs 1 --train-limit 64"
PRELUDE = f"""set -euo pipefail
freezebench() {{
    case "$1" in
        sweep|report|page|status) python -m bench.cli.main "$@" {SHORT} ;;
        *) python -m bench.cli.main "$@" ;;
    esac
}}
"""


def name_block(block: Block) -> str:
    """Return the page and the line of a block, as PAGE:LINE."""
    return f"{block.page}:{block.line}"


def parse(words: list[str]) -> argparse.Namespace:
    """Parse the words of a freezebench command; fail with argparse's message."""
    with contextlib.suppress(SystemExit):
        return build_parser().parse_args(words)
    pytest.fail(f"not a valid command: freezebench {' '.join(words)}")


def check_make(words: list[str]) -> None:
    """Check the targets and variables of a make command, and the commands that it would run.

    If make started the tests, its variables (such as ARGS) are not passed on.
    """
    variables = set(re.findall(r"^(\w+) \??=", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for word in words:
        if "=" in word:
            assert word.partition("=")[0] in variables, f"the Makefile has no variable {word}"
    inherited = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", *variables}
    environment = {name: value for name, value in os.environ.items() if name not in inherited}
    printed = subprocess.run(
        ["make", "--dry-run", *words],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert printed.returncode == 0, printed.stderr
    for line in printed.stdout.replace("\\\n", " ").splitlines():
        if "/bin/freezebench " in line:
            parse(shlex.split(line.partition("/bin/freezebench ")[2]))


def test_every_block_names_a_known_language_and_marker() -> None:
    for block in BLOCKS:
        assert block.language in LANGUAGES, name_block(block)
        assert block.marker in ("", *MARKERS), name_block(block)


def test_few_blocks_are_exempt_from_running() -> None:
    exempt = [name_block(block) for block in BLOCKS if block.marker]
    assert len(exempt) <= MOST_MARKERS, exempt


def test_no_command_hides_in_an_indented_block() -> None:
    for page in PAGES:
        found = re.search(r"^ {4}(make|freezebench|pip|python) .*", page.read_text(), re.MULTILINE)
        inside = any(found and found[0] in block.text for block in find_blocks(page))
        assert not found or inside, f"{page}: use a fenced block for {found[0].strip()}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.marker], ids=name_block)
def test_the_commands_of_an_exempt_block_are_valid(block: Block) -> None:
    if block.language != "sh":
        return
    for program, *words in block.list_commands():
        if program == "freezebench":
            parse(words)
        elif program == "make":
            check_make(words)
        for word in words:
            if re.match(r"(examples|docs|sweeps|tests)/", word):
                assert (ROOT / word.partition(":")[0]).exists(), f"{word} does not exist"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_inline_commands_exist(page: Path) -> None:
    actions = build_parser()._subparsers._group_actions[0].choices
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    targets |= {f"table{number}" for number in range(1, 10)}
    for code in find_inline_commands(page):
        program, name, *words = code.split()
        if program == "make":
            assert name in targets, code
            continue
        if name.startswith("--") or name.isupper():
            continue
        assert name in actions, code
        parsers = [actions[name]]
        if name == "predictor":
            parsers += actions[name]._subparsers._group_actions[0].choices.values()
        known = {option for parser in parsers for option in parser._option_string_actions}
        unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - known
        assert not unknown, f"{code}: {unknown}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "toml"], ids=name_block)
def test_toml_blocks_are_valid(block: Block) -> None:
    assert tomllib.loads(block.text)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the repository in which commands may write."""
    place = tmp_path_factory.mktemp("docs") / "freezebench"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).exists():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    (place / ".venv").symlink_to(Path(sys.prefix))
    return place


RUNNABLE = [
    page
    for page in PAGES
    if any(b.language in ("sh", "python") and not b.marker for b in find_blocks(page))
]


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run_in_order(page: Path, checkout: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {
        **os.environ, "PATH": path, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    for block in find_blocks(page):
        if block.marker or block.language not in ("sh", "python"):
            continue
        command = ["bash", "-c", PRELUDE + block.text]
        if block.language == "python":
            command = [sys.executable, "-c", block.text]
        done = subprocess.run(
            command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{name_block(block)}\n{done.stdout}\n{done.stderr}"
