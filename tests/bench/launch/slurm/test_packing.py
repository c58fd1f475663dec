"""Stages and packs: what waits for what, and how runs share jobs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.launch.slurm.packing import plan_arrays
from tests.support.tiny_runs import make_tiny_spec

LIMITS = {"seconds_per_job": 100.0, "runs_per_job": 0, "most_jobs": 1000, "at_once": 1}


def test_a_run_comes_after_all_that_it_needs() -> None:
    backbone = make_tiny_spec(data="glyphs:few", keep_model=True)
    reference = make_tiny_spec(seed=1000, weights=f"run:{backbone.id}", keep_model=True)
    cell = [make_tiny_spec(seed=s, weights=f"run:{backbone.id}", reference=f"run:{reference.id}")
            for s in (0, 1)]  # fmt: skip
    matched = make_tiny_spec("shortened", options={}, match=tuple(s.id for s in cell))
    alone = make_tiny_spec(seed=7)
    found = plan_arrays([matched, *cell, alone, reference, backbone], lambda s: 1.0, **LIMITS)
    assert [{s.id for s in stage.specs} for stage in found] == [
        {backbone.id, alone.id}, {reference.id}, {s.id for s in cell}, {matched.id},
    ]  # fmt: skip
    # What is done no longer makes a stage.
    assert [
        len(stage.specs) for stage in plan_arrays([matched, *cell], lambda s: 1.0, **LIMITS)
    ] == [
        2,
        1,
    ]


@given(
    seconds=st.lists(st.floats(0.1, 500), min_size=1, max_size=60),
    most=st.integers(1, 40),
    per_job=st.integers(0, 9),
    at_once=st.integers(1, 4),
)
def test_packs_hold_every_run_once_and_keep_the_limits(
    seconds: list[float], most: int, per_job: int, at_once: int
) -> None:
    specs = [make_tiny_spec(seed=i) for i in range(len(seconds))]
    expected = dict(zip((s.id for s in specs), seconds, strict=True))
    (stage,) = plan_arrays(
        specs, lambda s: expected[s.id], seconds_per_job=100, runs_per_job=per_job,
        most_jobs=most, at_once=at_once,
    )  # fmt: skip
    assert sorted(s.id for s in stage.specs) == sorted(expected)
    assert all(stage.packs)
    assert len(stage.packs) <= most
    if per_job and len(specs) <= per_job * most:
        assert max(map(len, stage.packs)) <= per_job
    if not per_job:
        share = sum(seconds) / len(stage.packs)
        longest = max(seconds)
        for pack in stage.packs:
            assert sum(expected[s.id] for s in pack) <= share + 2 * longest


def test_runs_of_one_seed_share_a_job() -> None:
    """Their times are compared with each other, so they come from one node."""
    strategies = ("full", "linear", "random", "probe")
    specs = [make_tiny_spec(strategy, seed=seed) for strategy in strategies
             for seed in range(3)]  # fmt: skip
    (stage,) = plan_arrays(specs, lambda s: 25.0, **LIMITS)
    assert [{s.seed for s in pack} for pack in stage.packs] == [{0}, {1}, {2}]


def test_ten_thousand_runs_fit_one_array() -> None:
    base = make_tiny_spec()
    specs = [base.with_changes(seed=i) for i in range(10_000)]
    (stage,) = plan_arrays(specs, lambda s: 3600.0, **{**LIMITS, "most_jobs": 1000})
    assert [len(pack) for pack in stage.packs] == [10] * 1000
