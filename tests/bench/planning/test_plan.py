"""Tests of plans: order, estimates of durations, and the cost of planning itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.data.images import image_folder
from bench.models.anatomy import analyze_model
from bench.models.flops_table import FULL_FLOPS
from bench.planning.estimates import ENOUGH, DurationEstimator
from bench.planning.plan import Plan, compute_depths
from bench.results.run_folder import RunFolder
from tests.support.tiny_runs import make_tiny_spec


@pytest.mark.parametrize("known", [key for key in FULL_FLOPS if key[0].startswith("laptop")])
def test_tabulated_flops_equal_the_counted_ones(known: tuple[str, int, int]) -> None:
    assert analyze_model(*known)[1].exact().total == FULL_FLOPS[known]


@pytest.mark.parametrize("model", ["resnet50", "vgg11", "mobilenet_v2", "deit_tiny_patch16_224"])
def test_tabulated_flops_of_the_papers_models_equal_the_counted_ones(model: str) -> None:
    """Check one number of classes per model, because only the head depends on this number."""
    assert analyze_model(model, 10, 224)[1].exact().total == FULL_FLOPS[model, 10, 224]


def test_depth_is_the_longest_chain_of_dependencies() -> None:
    first = make_tiny_spec(keep_model=True)
    second = make_tiny_spec(seed=1, weights=f"run:{first.id}")
    matched = make_tiny_spec("shortened", options={}, match=(first.id, second.id))
    outside = make_tiny_spec(seed=2, weights="run:feedfeedfeed")
    found = compute_depths([matched, second, outside, first])
    assert found == {first.id: 0, second.id: 1, matched.id: 2, outside.id: 0}


def test_an_estimate_reads_a_limited_number_of_comparable_runs(tmp_path: Path) -> None:
    specs = tuple(make_tiny_spec(seed=i) for i in range(ENOUGH + 5))
    for spec in specs[:ENOUGH]:
        RunFolder(tmp_path, spec.id).create()
        RunFolder(tmp_path, spec.id).write("result.json", {"clocks": {"whole": 7.0}})
    for spec in specs[ENOUGH:]:  # no result.json, so reading it would raise
        RunFolder(tmp_path, spec.id).create()
    estimator = DurationEstimator(Plan(specs, frozenset(s.id for s in specs)), tmp_path)
    assert estimator.estimate_seconds(specs[0]) == 7.0


def test_estimates_list_an_image_folder_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Expect one listing, because the live display asks for estimates at every redraw."""
    for kind in ("one", "two"):
        (tmp_path / "train" / kind).mkdir(parents=True)
        (tmp_path / "train" / kind / "image.png").touch()
    asked: list[Path] = []
    search = image_folder.list_images
    monkeypatch.setattr(image_folder, "list_images", lambda *a: (asked.append(a[0]), search(*a))[1])
    runs = [make_tiny_spec(seed=s).with_changes(data=f"folder:{tmp_path}") for s in (0, 1)]
    estimator = DurationEstimator(Plan(runs, frozenset()), tmp_path)
    assert estimator.estimate_seconds(runs[0]) == estimator.estimate_seconds(runs[1]) > 2.0
    assert asked == [tmp_path]


def test_planning_and_jobs_do_not_import_libraries_they_do_not_need() -> None:
    """Import planning without model libraries, and the job process without torch.

    Planning builds no model.
    """
    for code, barred in (
        ("from bench.planning.sweep import load_sweep; load_sweep('table2', 'laptop', seeds=1)",
         ["torchvision", "timm", "sklearn"]),
        ("import bench.launch.slurm.job", ["torch", "numpy"]),
    ):  # fmt: skip
        script = f"{code}\nimport sys; print([m for m in {barred} if m in sys.modules])"
        process = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        assert process.stdout == "[]\n", code
