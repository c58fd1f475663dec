"""Rules of the source layout: import order, and size limits of folders, files and functions.

`python -m tests.support.layout` prints the sizes and exits with status 1 if a rule is broken.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from tests.support.paths import ROOT

FILES_IN_A_FOLDER, LINES_IN_A_FILE, LINES_IN_A_FUNCTION = 12, 300, 60
PACKAGES = ("bench", "strategies", "reports")

# Folders in the order of their imports: a module may import from its own folder and from folders
# earlier in this list. "bench" stands for the modules directly in bench/.
ORDER = (
    "bench",
    "bench.data.interface",
    "bench.machine",
    "bench.results",
    "bench.layers",
    "bench.costs",
    "bench.distributed",
    "bench.data.images.shards",
    "bench.data.images",
    "bench.data.images.cifar",
    "bench.data.images.folders",
    "bench.data.texts",
    "bench.data.texts.grammar",
    "bench.data",
    "bench.models.texts",
    "bench.models",
    "bench.models.weights",
    "bench.strategy_api",
    "bench.batches",
    "bench.prefix",
    "bench.planning",
    "bench.training",
    "bench.own_training",
    "bench.launch.processes",
    "bench.launch",
    "bench.launch.slurm",
    "bench.perf",
    "bench.perf.sections",
    "strategies",
    "strategies.controls",
    "strategies.gradients",
    "strategies.representations",
    "strategies.rotating",
    "strategies.schedules",
    "strategies.smartfrz",
    "strategies.smartfrz.training",
    "strategies.smartfrz.studies",
    "strategies.weights",
    "reports",
    "reports.runs",
    "reports.document",
    "reports.paper",
    "reports.figures",
    "reports.comparison",
    "reports.leaderboard",
    "reports.paper_figures",
    "reports.claims",
    "reports.page",
    "reports.tables",
    "reports.publishing",
    "bench.api",
    "bench.cli",
    "bench.cli.predictor",
    "bench.cli.results",
    "bench.cli.slurm",
    "bench.cli.timing",
    "bench.cli.runs",
)
# Packages that train or launch runs. Reports and strategies may not import them, nor each other.
# The training of SmartFRZ's predictor receives a launch function from its caller.
TRAIN = (
    "bench.training",
    "bench.own_training",
    "bench.launch",
    "bench.batches",
    "bench.prefix",
    "bench.distributed",
)
FORBIDDEN = {
    "reports": (*TRAIN, "bench.perf", "bench.cli", "strategies"),
    "strategies": (*TRAIN, "bench.perf", "bench.cli", "reports"),
    "bench": ("strategies", "reports"),
}


class Layout:
    """Modules of the packages with their syntax trees and imports."""

    def __init__(self, root: Path = ROOT) -> None:
        self.sources = {
            ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
            for package in PACKAGES
            for path in sorted((root / package).rglob("*.py"))
        }
        self.trees = {name: ast.parse(path.read_text()) for name, path in self.sources.items()}

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """Modules that each module imports, also inside functions and for type checking."""
        found: dict[str, set[str]] = {name: set() for name in self.sources}
        for name, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and node.module:
                    for alias in node.names:
                        inner = f"{node.module}.{alias.name}"
                        found[name].add(inner if inner in self.sources else node.module)
                elif isinstance(node, ast.Import):
                    found[name].update(alias.name for alias in node.names)
            found[name] = {other for other in found[name] if other in self.sources} - {name}
        return found

    def folder(self, module: str) -> str:
        """Return the dotted name of the folder that holds a module."""
        path = self.sources[module]
        return module if path.name == "__init__.py" else module.rpartition(".")[0]

    def find_circles(self) -> list[str]:
        """Return the module names of the first import cycle, or [] if there is none."""
        finished: set[str] = set()

        def follow(module: str, path: list[str]) -> list[str]:
            if module in path:
                return [*path[path.index(module) :], module]
            if module not in finished:
                for other in sorted(self.imports[module]):
                    if circle := follow(other, [*path, module]):
                        return circle
                finished.add(module)
            return []

        return next((c for module in self.sources if (c := follow(module, []))), [])

    def find_upward_imports(self) -> Iterator[str]:
        """Yield each import from a folder that comes later in ORDER or is forbidden."""
        place = {folder: i for i, folder in enumerate(ORDER)}
        for module, others in self.imports.items():
            here = self.folder(module)
            for other in sorted(others):
                there = self.folder(other)
                if place.get(there, len(ORDER)) > place.get(here, -1):
                    yield f"{module} imports {other}, which comes later in ORDER"
                package = here.partition(".")[0]
                barred = () if here.startswith(("bench.cli", "bench.api")) else FORBIDDEN[package]
                if any(there == name or there.startswith(f"{name}.") for name in barred):
                    yield f"{module} imports {other}, which {package}/ may not import"

    def find_large(self) -> Iterator[str]:
        """Yield each folder, file and function that exceeds its limit."""
        files = Counter(path.parent for path in self.sources.values() if path.name != "__init__.py")
        for folder, count in files.items():
            if count > FILES_IN_A_FOLDER:
                place = folder.relative_to(ROOT)
                yield f"{place} has {count} files; the limit is {FILES_IN_A_FOLDER}"
        for module, path in self.sources.items():
            lines = len(path.read_text().splitlines())
            if lines > LINES_IN_A_FILE:
                yield f"{path.relative_to(ROOT)} has {lines} lines; the limit is {LINES_IN_A_FILE}"
            for node in ast.walk(self.trees[module]):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    length = (node.end_lineno or 0) - node.lineno + 1
                    if length > LINES_IN_A_FUNCTION:
                        yield (
                            f"{module}.{node.name} has {length} lines; the limit is "
                            f"{LINES_IN_A_FUNCTION}"
                        )

    def find_equal_classes(self) -> Iterator[str]:
        """Yield each class name that is defined in more than one module."""
        homes = defaultdict(list)
        for module, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    homes[node.name].append(module)
        for name, modules in homes.items():
            if len(modules) > 1:
                yield f"class {name} is defined in {' and '.join(modules)}"

    def find_faults(self) -> list[str]:
        """Return one line per broken rule."""
        circle = self.find_circles()
        return [
            *([f"import cycle: {' -> '.join(circle)}"] if circle else []),
            *self.find_upward_imports(),
            *self.find_large(),
            *self.find_equal_classes(),
        ]


def main() -> int:
    """Print the sizes and broken rules. Return 1 if a rule is broken."""
    layout = Layout()
    folders = Counter(layout.folder(module) for module in layout.sources)
    lines = [len(path.read_text().splitlines()) for path in layout.sources.values()]
    faults = layout.find_faults()
    print(
        f"{len(lines)} modules in {len(folders)} folders, {sum(map(len, layout.imports.values()))} "
        f"imports among them; longest file {max(lines)} lines; {len(faults)} broken rules"
    )
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
