"""Cluster files: accepted values, and one-line errors for invalid ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import submitit
from submitit.slurm.slurm import _make_sbatch_string

from bench.errors import UserError
from bench.launch.slurm.cluster_file import EXAMPLE, RESOURCES, load_settings
from tests.support.tiny_runs import make_tiny_spec


def written(folder: Path, text: str) -> str:
    file = folder / "cluster.toml"
    file.write_text(text)
    return str(file)


def test_the_example_is_valid_and_contains_every_key() -> None:
    load_settings(str(EXAMPLE))
    text = EXAMPLE.read_text()
    assert [key for key in RESOURCES if key not in text] == []


def test_submitit_accepts_every_key(tmp_path: Path) -> None:
    """Set every key and compare with submitit's list of valid parameters."""
    file = written(
        tmp_path,
        'partition = "p"\naccount = "a"\nwckey = "w"\nqos = "q"\nconstraint = "c"\n'
        "gpus_per_node = 2\n"
        'gres = "g"\nmem_gb = 1.5\nexclude = "n1"\nnodelist = "n2"\nexclusive = true\n'
        'mail_type = "END"\nmail_user = "m"\nsetup = ["module load cuda"]\ncpus_per_task = 3\n'
        'additional_parameters = {reservation = "r"}\n',
    )
    given = load_settings(file).collect_parameters()
    assert given["mem"] == "1536M"
    valid = submitit.SlurmExecutor._valid_parameters()
    assert set(given) <= valid
    assert {**given}.keys() >= {"time", "partition", "exclusive", "setup"}


@pytest.mark.parametrize(
    ("text", "lines"), [("", []), ('wckey = "physics"', ["#SBATCH --wckey=physics"])]
)
def test_a_job_has_the_given_wckey_or_none(text: str, lines: list[str], tmp_path: Path) -> None:
    """Check the script, because clusters that enforce wckeys reject submitit's own default."""
    given = load_settings(written(tmp_path, text)).collect_parameters()
    script = _make_sbatch_string("true", tmp_path, **given)
    assert "#SBATCH --time=60" in script
    assert [line for line in script.splitlines() if "--wckey" in line] == lines


def test_a_job_may_have_a_comment_and_the_smallest_memory(tmp_path: Path) -> None:
    """Set a comment, which neither submitit nor the launcher sets, and a memory of 1 MB.

    Slurm reads 0 MB as all memory.
    """
    more = "additional_parameters = {comment = 'x', cluster-constraint = 'y'}"
    settings = load_settings(written(tmp_path, f"mem_gb = 0.0009765625\n{more}"))
    assert "--comment" not in _make_sbatch_string("true", tmp_path)
    script = _make_sbatch_string("true", tmp_path, **settings.collect_parameters())
    for option in ("comment=x", "cluster-constraint=y", "mem=1M"):
        assert f"#SBATCH --{option}\n" in script


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("partitoin = 'x'", ["partitoin", "did you mean 'partition'", "account"]),
        ("slurm_partition = 'x'", ["slurm_partition", "did you mean 'partition'"]),
        ("timeout_min = '2:00:00'", ["timeout_min", "2:00:00", "whole number"]),
        ("timeout_min = 1.5", ["timeout_min", "1.5"]),
        ("timeout_min = 0", ["timeout_min", "from 1"]),
        ("cpus_per_task = -1", ["cpus_per_task", "-1"]),
        ("mem_gb = 'lots'", ["mem_gb", "lots"]),
        ("setup = 'module load x'", ["setup", "a list of strings"]),
        ("additional_parameters = {time = '1:00'}", ["'time'", "timeout_min"]),
        ("additional_parameters = {job_name = 'x'}", ["job_name", "launcher sets it"]),
        ("additional_parameters = {no_requeue = true}", ["no_requeue", "launcher requeues jobs"]),
        ("additional_parameters = {export = 'NONE'}", ["'export'", "variables", "use `export`"]),
        ("additional_parameters = {clusters = 'b'}", ["'clusters'", "a login node of the other"]),
        ("additional_parameters = {cluster = 'b'}", ["'cluster'", "default cluster only"]),
        ("additional_parameters = {M = 'b'}", ["'M'", "default cluster only"]),
        ("mem_gb = 0.0004", ["mem_gb = 0.0004", "less than 1 MB", "mem_gb = 8"]),
        ("additional_parameters = {x = [1]}", ["additional_parameters", "a table"]),
        ("[packing]\nruns_per_jib = 1", ["[packing]", "did you mean 'runs_per_job'"]),
        ("packing = 3", ["packing", "[packing]"]),
        ("timeout_min = 1\nsignal_delay_s = 90", ["signal_delay_s = 90", "1 min"]),
        ("timeout_min = ", ["not valid TOML"]),
    ],
)
def test_the_error_for_a_bad_file_is_one_line(text: str, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_settings(written(tmp_path, text))
    line = str(caught.value)
    assert "\n" not in line
    assert "cluster.toml" in line
    assert all(word in line for word in words), line


def test_the_error_for_a_missing_file_mentions_the_example(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not exist.*cluster\.example\.toml"):
        load_settings(str(tmp_path / "cluster.toml"))


def test_jobs_must_have_the_gpus_and_cores_of_the_runs(tmp_path: Path) -> None:
    none = load_settings(written(tmp_path, ""))
    none.check_for([make_tiny_spec()])
    with pytest.raises(UserError, match="gpus_per_node = 1"):
        none.check_for([make_tiny_spec().with_changes(device="cuda")])
    with pytest.raises(UserError, match="cpus_per_task = 4"):
        none.check_for([make_tiny_spec().with_changes(threads=4)])
    four = load_settings(written(tmp_path, "gpus_per_node = 2\ncpus_per_task = 4"))
    assert four.count_at_once([make_tiny_spec()]) == 4
    assert four.count_at_once([make_tiny_spec().with_changes(threads=3)]) == 1
    assert four.count_at_once([make_tiny_spec().with_changes(device="cuda")]) == 2


def test_each_of_the_runs_on_the_gpus_of_a_job_has_its_cores(tmp_path: Path) -> None:
    """Check each kind of run on its own, because an array may contain any part of the runs."""
    one, pair = make_tiny_spec(device="cuda"), make_tiny_spec(device="cuda", replicas=2)
    for specs, cores in (
        ([one], 4),  # four runs at a time
        ([pair], 4),  # two runs of two processes
        ([one.with_changes(threads=3)], 12),
        ([pair.with_changes(threads=3)], 12),
        ([pair, one.with_changes(threads=2)], 8),
        ([make_tiny_spec(device="cuda", replicas=4, threads=2)], 8),
        ([make_tiny_spec(device="cuda", replicas=8, nodes=2)], 4),
    ):
        enough = f"gpus_per_node = 4\ncpus_per_task = {cores}"
        load_settings(written(tmp_path, enough)).check_for(specs)
        few = load_settings(written(tmp_path, f"gpus_per_node = 4\ncpus_per_task = {cores - 1}"))
        with pytest.raises(UserError, match=f"set cpus_per_task = {cores}$"):
            few.check_for(specs)
    # The meaning of gres is unknown, so a job executes one run at a time.
    load_settings(written(tmp_path, 'gres = "gpu:4"')).check_for([one])


def test_a_run_with_replicas_has_a_gpu_or_its_cores_for_each_process(tmp_path: Path) -> None:
    job = load_settings(written(tmp_path, "gpus_per_node = 4\ncpus_per_task = 8"))
    pair, eight = make_tiny_spec(replicas=2), make_tiny_spec(replicas=8)
    assert job.count_at_once([pair]) == 4
    assert job.count_at_once([pair.with_changes(threads=3)]) == 1
    assert job.count_at_once([pair.with_changes(device="cuda"), make_tiny_spec(device="cuda")]) == 2
    job.check_for([pair.with_changes(device="cuda"), make_tiny_spec(device="cuda")])
    job.check_for([eight])
    # Of two nodes, each has half of the processes, and executes one run at a time.
    spread = eight.with_changes(nodes=2)
    job.check_for([spread.with_changes(device="cuda"), spread.with_changes(threads=2)])
    assert job.count_at_once([spread]) == 1
    with pytest.raises(
        UserError, match=r"need 8 GPUs each, but jobs request 4; set gpus_per_node = 8"
    ):
        job.check_for([eight.with_changes(device="cuda")])
    with pytest.raises(UserError, match="use 16 threads, but cpus_per_task = 8;"):
        job.check_for([eight.with_changes(threads=2)])
