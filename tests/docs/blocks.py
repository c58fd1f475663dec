"""Code blocks and inline commands of the documentation."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

MARKERS = ("gpu", "cluster", "network", "hours")
LANGUAGES = ("sh", "python", "toml", "text")
MARKER = re.compile(r"<!-- not run: (\w+) -->")
SNIPPET = re.compile(r'^--8<-- "(.+)"$', re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced code block. marker: why no test runs it, or ''."""

    page: str
    line: int
    language: str
    text: str
    marker: str

    def list_commands(self) -> list[list[str]]:
        """Return the commands of a shell block as words, without comments."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def list_pages() -> list[Path]:
    """Return the pages that a reader sees, in a fixed order."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [*pages, ROOT / "examples" / "README.md"]


def find_blocks(page: Path) -> list[Block]:
    """Return the fenced code blocks of a page. Include lines are replaced by the included files."""
    blocks, opened, marker = [], None, ""
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        if opened is None and line.startswith("```"):
            opened, language, text = number, line[3:].strip(), []
        elif opened is not None and line == "```":
            whole = SNIPPET.sub(lambda found: (ROOT / found[1]).read_text(), "\n".join(text))
            name = str(page.relative_to(ROOT))
            blocks.append(Block(name, opened, language, whole + "\n", marker))
            opened, marker = None, ""
        elif opened is not None:
            text.append(line)
        elif found := MARKER.fullmatch(line.strip()):
            marker = found[1]
        elif line.strip():
            marker = ""
    assert opened is None, f"{page}: the block of line {opened} has no end"
    return blocks


def find_inline_commands(page: Path) -> Iterator[str]:
    """Yield the inline code that begins with `freezebench` or `make`."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`([^`\n]+)`", text):
        if re.match(r"(freezebench|make) \S", code):
            yield code
