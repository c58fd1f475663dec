"""The pages of tables and figures describe every column and file, and name functions that exist."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bench.planning.sweep import load_sweep
from bench.planning.sweep_files import list_tables
from reports.document.report import Report
from reports.publishing.build import BUILDERS, build_report
from reports.publishing.from_sweep import describe_profile, list_shown_runs
from reports.runs.run_table import Reader
from tests.support.paths import ROOT
from tests.support.synthetic_results import EPOCHS, make_result, write_outcome

FOLDER = ROOT / "docs" / "tables"
PAGES = sorted(FOLDER.glob("*.md"))
PAGE_OF = {name: f"{name}.md" for name in BUILDERS} | {"figure5": "figures.md"}
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\((\w+\.md)(?:#[\w-]+)?\)")
DOTTED = re.compile(r"`((?:bench|reports|strategies)\.[\w.]+)`")
# First word of a method that a table varies: method whose synthetic effect it gets.
LIKE = {"window": "smartfrz", "size": "smartfrz", "t0": "linear", "M": "autofreeze"}


def read(page: str) -> str:
    return (FOLDER / page).read_text()


def list_headings(page: str) -> set[str]:
    """Return the inline code (text in backticks) in the first column of the page's tables."""
    rows = [line for line in read(page).splitlines() if line.startswith("|")]
    return {code for row in rows for code in CODE.findall(row.split("|")[1])}


def list_shared_pages(page: str) -> Iterator[str]:
    """Yield a page and the pages to which its section "Columns" links."""
    yield page
    columns = re.search(r"^## Columns$(.*?)(?=^## )", read(page), re.DOTALL | re.MULTILINE)
    yield from LINK.findall(columns[1]) if columns else ()


def write_result(results: Path, run: dict[str, Any], scale: float) -> None:
    """Write a synthetic result with FLOPs multiplied by `scale`."""
    method = run["method"].split()[0]
    made = make_result({**run, "method": LIKE.get(method, method)})
    for name in ("paper", "exact"):
        made["flops"][name] = {key: scale * v for key, v in made["flops"][name].items()}
    for layer in made["layers"]:
        layer["weights"] = 1000
    memory = {"saved_bytes": 2**20, "state_bytes": 2**20, "cuda_allocated": None, "frozen": 0}
    lines = [json.dumps({"epoch": epoch, **memory}) for epoch in range(1, EPOCHS + 1)]
    folder = results / "runs" / run["id"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "environment.json").write_text('{"device": "a made-up CPU", "threads": 1}')
    write_outcome(folder, run, made)
    (folder / "epochs.jsonl").write_text("\n".join(lines) + "\n")


def build(name: str, results: Path, scale: float = 1.0) -> Report:
    """Return the report of a table from synthetic results of all runs, controls included.

    The leaderboard has many runs, so only a few of its methods and one seed are made.
    """
    large = name == "leaderboard"
    sweep = load_sweep(name, "laptop", controls=True, seeds=1 if large else None)
    if large:
        kept = ("full", "badam", "lora", "prefix, 30 %", "at_once, 30 %", "shortened, 30 %")
        entries = tuple(e for e in sweep.entries if e.roles["method"] in kept)
        sweep = replace(sweep, entries=entries)
    wanted = list_shown_runs(sweep)
    roles = {"model": "x", "dataset": "cifar100", "method": "full"}
    further = [{"id": s.id, "cell": s.cell, "seed": s.seed, **roles} for s in sweep.artifacts]
    for run in [*wanted, *further]:
        write_result(results, run, scale)
    return build_report(name, wanted, Reader(results), describe_profile(sweep))


def resolve(path: str) -> object:
    """Return what a dotted path names; raise AttributeError if it does not exist."""
    words = path.split(".")
    found: Any = importlib.import_module(words[0])
    for i, word in enumerate(words[1:], start=2):
        if is_dataclass(found) and word in {one.name for one in fields(found)}:
            return word
        if not hasattr(found, word):
            try:
                importlib.import_module(".".join(words[:i]))
            except ImportError as error:
                raise AttributeError(path) from error
        found = getattr(found, word)
    return found


def test_every_table_and_figure_of_the_paper_has_a_page() -> None:
    shown = {"curves": "figures.md", **PAGE_OF}
    assert set(list_tables()) <= set(shown)
    for page in shown.values():
        assert (FOLDER / page).exists(), page
        assert page in LINK.findall(read("index.md")), page


@pytest.mark.parametrize("scale", [1.0, 1e-4], ids=["TFLOPs", "GFLOPs"])
@pytest.mark.parametrize("name", BUILDERS)
def test_page_describes_every_column_of_the_report(name: str, scale: float, tmp_path: Path) -> None:
    report = build(name, tmp_path, scale)
    described = set().union(*map(list_headings, list_shared_pages(PAGE_OF[name])))
    for part in (*report.parts, *report.compact):
        missing = {column.head for column in (*part.blocks, *part.columns)} - described
        assert not missing, f"{part.title}: {PAGE_OF[name]} lacks {sorted(missing)}"


@pytest.mark.parametrize("name", BUILDERS)
def test_page_names_every_file_of_the_report(name: str, tmp_path: Path) -> None:
    report = build(name, tmp_path)
    files = [f"{name}.{ending}" for ending in ("txt", "md", "tex", "json")]
    files += [f"{stem}.csv" for stem in report.numbers]
    files += [f"{drawing.name}.svg" for drawing in report.drawings]
    assert set(files) <= set(CODE.findall(read(PAGE_OF[name])))
    named = set(CODE.findall(read("figures.md")))
    assert {f"{drawing.name}.svg" for drawing in report.drawings} <= named


@pytest.mark.parametrize("name", [name for name in BUILDERS if name != "figure5"])
def test_page_names_the_sweep_with_its_roles_and_commands(name: str) -> None:
    sweep, codes = load_sweep(name, "laptop", controls=True), set(CODE.findall(read(f"{name}.md")))
    shown = describe_profile(sweep)["stands_for"]
    assert set(shown) | set(shown.values()) <= codes
    assert {f"sweeps/{name}.toml", f"make {name}", f"freezebench sweep {name}"} <= codes
    assert {entry.spec.strategy for entry in sweep.entries} <= codes
    runs = len(load_sweep(name, "laptop").entries)
    assert f"which makes {runs} runs" in read(f"{name}.md")
    if len(sweep.entries) > runs:
        assert f"or {len(sweep.entries)} with " in read(f"{name}.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_functions_named_on_the_page_exist(page: Path) -> None:
    for path in DOTTED.findall(page.read_text()):
        try:
            resolve(path)
        except (AttributeError, ImportError):
            pytest.fail(f"{page.name}: {path} does not exist")
