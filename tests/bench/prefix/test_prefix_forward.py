"""Tests of cached and folded prefixes: same training, fewer FLOPs, same bits after resume."""

from pathlib import Path

import pytest
import torch

from bench.batches.images import ImageBatches
from bench.errors import UserError
from bench.layers.discovery import Inputs
from bench.models.anatomy import analyze_model
from bench.prefix.cache import PrefixCache
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from tests.support.device import DEVICE
from tests.support.interrupted_runs import assert_stops_change_nothing
from tests.support.paths import SUPPORT
from tests.support.tiny_runs import execute_run, load_weights, make_tiny_spec

MODELS = ["laptop_resnet", "laptop_vgg11", "laptop_mobilenet_v2", "laptop_deit"]
CACHED = {"cache_prefix": True, "augment": "none"}
# Some samples fit in memory, some on disk, and the others are not cached.
TIGHT = {"cache_device_mib": 0, "cache_host_mib": 1, "cache_disk_mib": 1}


STRATEGY = f"{SUPPORT}/half_then_more.py:HalfThenMore"


def prefix_run(model: str, **changes: object) -> Spec:
    """Return a spec of 4 epochs of 6 steps.

    Its prefix freezes, stays the same for more than an epoch, and then grows.
    """
    settings = {"keep_model": True, "epochs": 4, "augment": "none", **changes}
    return make_tiny_spec(STRATEGY, model=model, **settings)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("way", ["cache_prefix", "fold_norms", "both"])
def test_trained_weights_are_equal_up_to_rounding(model: str, way: str, tmp_path: Path) -> None:
    ways = {"cache_prefix": way != "fold_norms", "fold_norms": way != "cache_prefix"}
    plain, other = prefix_run(model), prefix_run(model, **ways)
    expected, result = execute_run(plain, tmp_path), execute_run(other, tmp_path)
    assert other.cell != plain.cell
    first, second = load_weights(plain, tmp_path), load_weights(other, tmp_path)
    trained = [name for name in first if "running" not in name and "tracked" not in name]
    apart, alike = (torch.cat([w[n].flatten() for n in trained]) for w in (first, second))
    # Rounding differences grow over steps if they flip a ReLU. test_graph_split.py compares
    # single steps.
    assert (apart - alike).norm() < 0.01 * alike.norm()
    states = result["freeze_states"]
    assert [s["frozen"] for s in states] == [s["frozen"] for s in expected["freeze_states"]]
    reused = sum(s["reused"] for s in states)
    assert bool(reused) == ways["cache_prefix"]
    spent, full = result["flops"]["exact"], expected["flops"]["exact"]
    assert spent["backward"] == full["backward"]
    saved = sum(s["reused"] * s["prefix_exact"] for s in states)
    assert spent["forward"] == pytest.approx(full["forward"] - saved)
    assert (saved > 0) == ways["cache_prefix"]
    assert not list(RunFolder(tmp_path, other.id).path.glob("*.cache"))


def test_prefix_frozen_from_the_start_is_computed_once_per_sample(tmp_path: Path) -> None:
    spec = make_tiny_spec("probe", **CACHED)
    result = execute_run(spec, tmp_path)
    (state,) = (s for s in result["freeze_states"] if s["steps"])
    assert state["reused"] == state["samples"] - 192
    layers, flops = analyze_model(spec.model, 10, spec.resolution)
    frozen = frozenset(range(len(layers) - 1))
    prefix = sum(flops.exact_forward(i) for i in frozen)
    assert state["prefix_exact"] == prefix
    assert state["prefix_paper"] == sum(flops.forward[i] for i in frozen)
    expected = flops.exact(frozen).forward * state["samples"] - prefix * state["reused"]
    assert result["flops"]["exact"]["forward"] == pytest.approx(expected)
    held = {place: count for place, count in result["memory"]["prefix_cache"].items() if count}
    assert held == {"host" if DEVICE.type == "cpu" else "device": 192 * 128 * 4}


@pytest.mark.parametrize("way", [CACHED, {"fold_norms": True}], ids=["cache", "fold"])
def test_a_diverging_run_has_the_status_diverged(way: dict, tmp_path: Path) -> None:
    spec = prefix_run("laptop_resnet", lr=1e6, weight_decay=1e3, **way)
    assert execute_run(spec, tmp_path)["status"] == "diverged"


def test_the_result_holds_the_largest_cache_of_a_run(tmp_path: Path) -> None:
    spec = make_tiny_spec("gradual_unfreezing", epochs=12, **CACHED)
    result = execute_run(spec, tmp_path)
    assert not result["freeze_states"][-1]["frozen"]  # nothing is cached at the end
    assert sum(result["memory"]["prefix_cache"].values()) >= 192 * 4


def test_images_are_not_prepared_if_all_rows_are_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Use blank images in place of fully cached batches, and expect bit-identical weights."""
    spec, drawn = prefix_run("laptop_resnet", **{**CACHED, "epochs": 5}), list[int]()
    draw = ImageBatches.batch

    def batch(self: ImageBatches, step: int) -> tuple[Inputs, torch.Tensor]:
        drawn.append(step)
        return draw(self, step)

    monkeypatch.setattr(ImageBatches, "batch", batch)
    execute_run(spec, tmp_path / "blank")
    # An epoch has six steps. The prefix freezes after step 3 and all rows are cached by step 12.
    # It grows after step 14, and all rows are cached again by step 24.
    assert drawn == [step for step in range(24) if step not in (12, 13)]
    drawn.clear()
    monkeypatch.setattr(PrefixCache, "has_rows", lambda self, step: False)
    execute_run(spec, tmp_path / "seen")
    assert drawn == list(range(30))
    first, second = (load_weights(spec, tmp_path / name) for name in ("blank", "seen"))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("budgets", [{}, TIGHT], ids=["ample", "tight"])
def test_run_stopped_every_third_step_ends_bit_identical(
    model: str, budgets: dict, tmp_path: Path
) -> None:
    assert_stops_change_nothing(prefix_run(model, fold_norms=True, **CACHED, **budgets), tmp_path)


ORDER = torch.tensor([[4, 1, 7], [0, 2, 4], [5, 4, 9], [1, 0, 9], [8, 7, 3], [6, 2, 3]])


@pytest.mark.parametrize("rows", [(10, 0), (4, 0), (3, 4), (0, 10), (0, 0)])
def test_each_sample_gets_its_own_row_from_every_storage(
    rows: tuple[int, int], tmp_path: Path
) -> None:
    """Compute rows that depend on the sample and on the batch in which they are first computed."""
    computed: list[list[int]] = []

    def compute(samples: torch.Tensor) -> tuple[torch.Tensor, ...]:
        computed.append(samples.tolist())
        company = samples.sum().float()
        return (samples.float()[:, None] * 100 + company, samples[:, None, None].repeat(1, 2, 2))

    row = 4 + 4 * 8
    budgets = (0, rows[0] * row, rows[1] * row)

    def new_cache() -> PrefixCache:
        return PrefixCache(10, ORDER.__getitem__, compute, budgets, torch.device("cpu"), tmp_path)

    cache, served = new_cache(), []
    for step in range(6):
        cut_tensors, there = cache.serve(step)
        assert (cut_tensors[1] == ORDER[step][:, None, None]).all()
        assert torch.equal(cut_tensors[0][:, 0] // 100, ORDER[step].float())
        served.append((cut_tensors, there))
    in_all = sum(len(samples) for samples in computed)
    assert in_all == 18 - sum(there for _, there in served)
    assert sum(rows) < 10 or in_all == 10
    kept = cache.count_kept_bytes()
    assert kept["host"] == min(rows[0], 10) * row
    assert kept["host"] + kept["disk"] <= sum(rows) * row
    cache.close()
    assert not list(tmp_path.iterdir())
    for begin in range(6):  # resume after each step and expect the same values
        again = new_cache()
        again.replay(0, begin)
        for step in range(begin, 6):
            cut_tensors, there = again.serve(step)
            assert there == served[step][1]
            assert all(torch.equal(a, b) for a, b in zip(cut_tensors, served[step][0], strict=True))
        again.close()


def test_cache_with_augmentation_raises() -> None:
    with pytest.raises(UserError, match=r"cache_prefix.*augment"):
        make_tiny_spec(cache_prefix=True, augment="standard")


def test_a_model_none_of_whose_batchnorms_can_be_folded_is_refused(tmp_path: Path) -> None:
    spec = make_tiny_spec(model="test_efficientnet", resolution=32, fold_norms=True)
    with pytest.raises(
        UserError, match=r"has only BatchNormAct2d, none of which .* fold_norms = false"
    ):
        execute_run(spec, tmp_path)
    assert not RunFolder(tmp_path, spec.id).done


def test_disabled_options_do_not_change_run_ids() -> None:
    assert make_tiny_spec(cache_prefix=False, fold_norms=False).id == make_tiny_spec().id
    plain = {"augment": "none"}
    ways = (plain, CACHED, {**plain, "fold_norms": True})
    assert len({make_tiny_spec(**way).id for way in ways}) == 3
