"""Arrays and packs: dependencies between arrays, and the distribution of runs over jobs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bench.launch.slurm.packing import plan_arrays
from tests.support.tiny_runs import make_tiny_spec

LIMITS = {"seconds_per_job": 100.0, "runs_per_job": 0, "most_jobs": 1000, "at_once": 1}


def test_a_run_is_in_a_later_array_than_the_runs_it_needs() -> None:
    backbone = make_tiny_spec(data="glyphs:few", keep_model=True)
    reference = make_tiny_spec(seed=1000, weights=f"run:{backbone.id}", keep_model=True)
    sources = {"weights": f"run:{backbone.id}", "reference": f"run:{reference.id}"}
    cell = [make_tiny_spec("cka_oracle", seed=s, **sources) for s in (0, 1)]
    matched = make_tiny_spec("shortened", options={}, match=tuple(s.id for s in cell))
    alone = make_tiny_spec(seed=7)
    found = plan_arrays([matched, *cell, alone, reference, backbone], lambda s: 1.0, **LIMITS)
    assert [{s.id for s in array.specs} for array in found] == [
        {backbone.id, alone.id}, {reference.id}, {s.id for s in cell}, {matched.id},
    ]  # fmt: skip
    # Runs that are done need no array.
    assert [
        len(array.specs) for array in plan_arrays([matched, *cell], lambda s: 1.0, **LIMITS)
    ] == [
        2,
        1,
    ]


def test_runs_on_different_numbers_of_nodes_are_in_different_arrays() -> None:
    alone = [make_tiny_spec(seed=s) for s in (0, 1)]
    wide = [make_tiny_spec(seed=s, replicas=4, nodes=2) for s in (0, 1)]
    found = plan_arrays([wide[0], *alone, wide[1]], lambda s: 1.0, **LIMITS)
    assert [array.specs for array in found] == [alone, wide]


@given(
    seconds=st.lists(st.floats(0.1, 500), min_size=1, max_size=60),
    most=st.integers(1, 40),
    per_job=st.integers(0, 9),
    at_once=st.integers(1, 4),
)
def test_packs_contain_every_run_once_and_respect_the_limits(
    seconds: list[float], most: int, per_job: int, at_once: int
) -> None:
    specs = [make_tiny_spec(seed=i) for i in range(len(seconds))]
    expected = dict(zip((s.id for s in specs), seconds, strict=True))
    (array,) = plan_arrays(
        specs, lambda s: expected[s.id], seconds_per_job=100, runs_per_job=per_job,
        most_jobs=most, at_once=at_once,
    )  # fmt: skip
    assert sorted(s.id for s in array.specs) == sorted(expected)
    assert all(array.packs)
    assert len(array.packs) <= most
    if per_job and len(specs) <= per_job * most:
        assert max(map(len, array.packs)) <= per_job
    if not per_job:
        share = sum(seconds) / len(array.packs)
        longest = max(seconds)
        for pack in array.packs:
            assert sum(expected[s.id] for s in pack) <= share + 2 * longest


def test_runs_of_one_seed_share_a_job() -> None:
    """Keep the runs of a seed on one node, because reports compare their times."""
    strategies = ("full", "linear", "random", "probe")
    specs = [make_tiny_spec(strategy, seed=seed) for strategy in strategies
             for seed in range(3)]  # fmt: skip
    (array,) = plan_arrays(specs, lambda s: 25.0, **LIMITS)
    assert [{s.seed for s in pack} for pack in array.packs] == [{0}, {1}, {2}]


def test_ten_thousand_runs_fit_one_array() -> None:
    base = make_tiny_spec()
    specs = [base.with_changes(seed=i) for i in range(10_000)]
    (array,) = plan_arrays(specs, lambda s: 3600.0, **{**LIMITS, "most_jobs": 1000})
    assert [len(pack) for pack in array.packs] == [10] * 1000
