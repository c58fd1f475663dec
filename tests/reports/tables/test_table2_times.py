"""Tests of the times in Table 2 with synthetic results: marks, savings and claims of a speed-up."""

import json
import math
import re
import shutil

import pytest

from reports.document.markdown import format_markdown
from reports.document.terminal import format_text
from reports.page.summary import write_headline
from reports.runs.run_table import read_runs
from tests.support.synthetic_results import (
    make_result,
    write_run,
)
from tests.support.table2_results import RUNS, build_from, find_row, format_parts, list_runs_of


def test_pooled_realised_uses_mean_shares_including_pairs_without_savings(results):
    before = {r["method"]: r["realised"] for r in build_from(results).pooled.rows}
    for run in list_runs_of("smartfrz", "vgg11", "cifar10"):
        full = next(r for r in RUNS if r["seed"] == run["seed"] and r["method"] == "full")
        write_run(results, run, flops=make_result(full)["flops"])
    after = {r["method"]: r for r in build_from(results).pooled.rows}
    ours = after["smartfrz"]
    assert ours["realised"] == pytest.approx(ours["time_saved"] / ours["flops_saved"])
    assert ours["realised"] > before["smartfrz"] > 0
    assert after["linear"]["realised"] == before["linear"]


def test_times_of_two_devices_are_not_compared(results):
    runs = list_runs_of("linear")
    write_run(results, runs[0], device="another made-up CPU")
    table = build_from(results)
    found = find_row(table, "linear")
    assert found["time_s"] is None
    assert math.isnan(found["time_saved"])
    assert found["time_mark"] == found["time_saved_mark"] == " §"
    assert "– §" in format_parts(table)
    for run in runs:  # all on the other device: a mean time, but no time saved
        write_run(results, run, device="another made-up CPU")
    table = build_from(results)
    assert find_row(table, "linear")["time_s"] is not None
    assert math.isnan(find_row(table, "linear")["time_saved"])
    assert "§ runs used different devices" in format_parts(table)
    assert "another made-up CPU, 1 thread" in format_parts(table)


def test_resumed_run_marks_its_time(results):
    write_run(results, list_runs_of("full")[2], resumed=True)
    table = build_from(results)
    words = format_parts(table)
    assert "‡ a run was interrupted" in words
    assert find_row(table, "smartfrz")["time_saved_mark"] == " ‡"  # full training was resumed
    assert find_row(table, "smartfrz", dataset="symbols100 (for cifar100)")["time_saved_mark"] == ""
    assert {r["time_saved_mark"] for r in table.pooled.rows} == {" ‡"}
    assert re.search(r"\| full \| 5 of 5 \| [\d.]+ ± [\d.]+ \| [\d.]+ ± [\d.]+ ‡", words)


def test_speed_up_is_claimed_only_if_non_inferior_and_faster(results):
    claims = {n.split(",")[0]: n for n in build_from(results).pooled.notes if "pairs:" in n}
    assert "Speed-up claimed: " in claims["smartfrz"]
    for method in ("linear", "autofreeze"):
        pooled = {r["method"]: r for r in build_from(results).pooled.rows}[method]
        claimed = "Speed-up claimed: " in claims[method]
        assert claimed == (pooled["verdict"] == "non-inferior" and pooled["p_no_worse"] < 0.025)
    for run in RUNS:  # non-inferior, but slower
        if run["method"] == "smartfrz":
            slower = make_result(run)["clocks"] | {"train": 60.0}
            write_run(results, run, clocks=slower, cpu=slower)
    claims = {n.split(",")[0]: n for n in build_from(results).pooled.notes if "pairs:" in n}
    assert "No speed-up claimed, because it takes more time." in claims["smartfrz"]
    headline = write_headline(build_from(results).pools, {})
    assert "but takes more time than full training." in headline


def test_no_speed_up_is_claimed_from_incomplete_pairs_or_seeds(results):
    def claim():
        notes = build_from(results).pooled.notes
        return next(n for n in notes if n.startswith("smartfrz, "))

    assert "Speed-up claimed: 3" in claim()
    for run in list_runs_of("smartfrz", "vgg11", "cifar10"):
        write_run(results, run, device="another made-up CPU")
    assert "claimed, because times are comparable on only 3 of 4 pairs." in claim()
    for run in list_runs_of("smartfrz", "vgg11", "cifar10"):
        write_run(results, run)
    lost = results / "runs" / list_runs_of("smartfrz", "vgg11", "cifar10")[0]["id"]
    shutil.rmtree(lost)
    words = (
        "4 of 4 pairs, 19 of 20 runs: inconclusive. No speed-up claimed. Runs of this method or "
        "of full training without a result: 1."
    )
    assert words in claim()
    lost.mkdir()
    (lost / "failure.json").write_text('{"reason": "out of memory"}')
    assert words in claim()


def test_times_of_a_shared_cpu_are_marked_in_every_table(results):
    for run in RUNS:
        if run["method"] == "linear":
            clocks = make_result(run)["clocks"]
            write_run(results, run, cpu={key: value / 2 for key, value in clocks.items()})
    built = build_from(results)
    assert find_row(built, "linear")["time_saved_mark"] == " ¶"
    (found,) = (r for r in built.pooled.rows if r["method"] == "linear")
    assert found["time_saved_mark"] == " ¶"
    for table in (built.results, built.against, built.costs, built.pooled):
        lines = [line for line in format_markdown(table).splitlines() if "| linear |" in line]
        assert lines
        assert all("¶" in line for line in lines)
    for table in (built.compact, built.compact_pooled):
        printed = format_text(table).splitlines()
        lines = [line for line in printed if line.startswith(" linear ")]
        assert lines
        assert all(line.count("¶") >= 2 for line in lines)


@pytest.mark.parametrize(("share", "slowed"), [(1.0, True), (1.95, False), (0.5, True)])
def test_slowed_accounts_for_the_number_of_threads(results, share, slowed):
    (run, *_) = list_runs_of("smartfrz")
    clocks = make_result(run)["clocks"]
    write_run(results, run, threads=2, cpu={key: share * value for key, value in clocks.items()})
    assert bool(read_runs(RUNS, results).set_index("id").slowed[run["id"]]) == slowed


def test_replayed_time_needs_the_device_of_the_run(results):
    assert find_row(build_from(results), "smartfrz")["replayed_saved"] is None

    def replay(ratios, device):
        for run, ratio in zip(list_runs_of("smartfrz"), ratios, strict=False):
            record = {"device": device, "time_ratio": {"median": ratio}}
            (results / "runs" / run["id"] / "retime.json").write_text(json.dumps(record))

    replay((0.6, 0.7), "a made-up CPU")
    table = build_from(results)
    assert find_row(table, "smartfrz")["replayed_saved"] == pytest.approx(0.35)
    assert find_row(table, "smartfrz")["replayed_runs"] == 2
    assert find_row(table, "full")["replayed_saved"] is None
    [column] = [c for c in table.against.columns if c.head == "Replayed (%)"]
    assert column.text(find_row(table, "smartfrz")) == "35.0 (2 of 5)"
    assert column.text(find_row(table, "linear")) == "–"
    replay((0.1, 0.1), "another device")  # times of different devices are not compared
    assert find_row(build_from(results), "smartfrz")["replayed_saved"] is None
    replay((0.5, 0.6, 0.7, 0.8, 0.9), "a made-up CPU")
    assert column.text(find_row(build_from(results), "smartfrz")) == "30.0"
    shutil.rmtree(results / "runs" / list_runs_of("smartfrz")[0]["id"])  # all finished runs remain
    assert column.text(find_row(build_from(results), "smartfrz")) == "25.0"
