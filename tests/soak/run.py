"""Command of `make soak`: tiny runs are killed, stopped and starved of disk space at random.

Every round is one small sweep, on the local launcher or on Slurm. The reproducible records of
its runs are then compared bit for bit with those of undisturbed runs. The command fails if a bit
differs, a result is lost, or an error is not one line. It then keeps the files of the round.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from tests.slurm.run import prepare_slurm
from tests.soak.disk import Disk
from tests.soak.known_results import compare
from tests.soak.local_round import LocalRound
from tests.soak.slurm_round import SlurmRound
from tests.soak.tally import Tally
from tests.soak.tiny_sweeps import Round, draw_rounds, write_sweep
from tests.support.slurm_cluster import Cluster


def main() -> int:
    """Run rounds until the time is over or a fault occurs. Print counts, and return the status."""
    args = _parse_arguments()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` ends the processes
    place = Path(tempfile.mkdtemp(prefix="freezebench-soak-"))
    place.chmod(0o755)  # munged wants to enter it
    reason = "--no-slurm is given" if args.no_slurm else prepare_slurm()
    tally, began = Tally(), time.monotonic()
    disk = Disk(place / "disk")
    _print_skipped("SLURM", reason)
    _print_skipped("FULL DISKS", disk.reason)
    print(f"soak: {args.hours} h, seed {args.seed}; files in {place}", flush=True)
    soak = Soak(place, disk, tally, end=began + 3600 * args.hours)
    try:
        for this in draw_rounds(args.seed, slurm=not reason):
            if this.number < args.round:
                continue
            soak.execute(this)
            if tally.faults or time.monotonic() >= soak.end:
                break
    finally:
        soak.close()
    print(tally.format())
    spent = os.times()
    processor = spent.user + spent.system + spent.children_user + spent.children_system
    print(
        f"seed {args.seed}; {(time.monotonic() - began) / 60:.0f} minutes, at least "
        f"{processor / 60:.0f} of CPU time"  # of orphans nothing is known
    )
    for fault in tally.faults:
        print(f"FAULT: {fault}")
    if not tally.faults:
        shutil.rmtree(place, ignore_errors=True)
        return 0
    print(
        f"The files of the last round are in {place}. To repeat it: "
        f"make soak ARGS='--seed {args.seed} --round {this.number}'"
    )
    return 1


class Soak:
    """Rounds of a soak, with the Slurm cluster and the disk that they share.

    end: time in seconds of time.monotonic(), from which no round starts and nothing is disturbed.
    """

    def __init__(self, place: Path, disk: Disk, tally: Tally, end: float) -> None:
        self.end = end
        self._place, self._disk, self._tally = place, disk, tally
        self._cluster: Cluster | None = None

    def execute(self, this: Round) -> None:
        """Execute a round, compare it, and delete its files if there is no fault."""
        folder = self._place / f"round{this.number}"
        folder.mkdir()
        sweep = write_sweep(this, folder / "soak.toml")
        began, before = time.monotonic(), sum(self._tally.disturbances.values())
        if this.on_slurm:
            file = folder / "soak.toml"
            results = SlurmRound(
                this, sweep, file, self._start_cluster(), self._tally, self.end
            ).run()
        else:
            results = LocalRound(
                this, sweep, folder / "soak.toml", self._disk, self._tally, self.end
            ).run()
        compare(this, sweep, results, folder / "alone", self._tally)
        self._tally.rounds["Slurm" if this.on_slurm else "local"] += 1
        count = sum(self._tally.disturbances.values()) - before
        print(f"{this}; {count} disturbances, {time.monotonic() - began:.0f} s", flush=True)
        if self._tally.faults:
            if not this.on_slurm:  # the tmpfs disappears
                shutil.copytree(results, folder / "results", dirs_exist_ok=True)
            return
        shutil.rmtree(results)
        shutil.rmtree(folder)

    def close(self) -> None:
        """Stop the cluster and unmount the disk."""
        if self._cluster:
            self._cluster.down()
        self._disk.close()

    def _start_cluster(self) -> Cluster:
        if self._cluster is None:
            self._cluster = Cluster(self._place / "cluster")
            self._cluster.up()
        return self._cluster


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak.run", description=__doc__)
    parser.add_argument("--hours", type=float, default=0.15, help="time until the last round ends")
    parser.add_argument(
        "--seed", type=int, default=random.randrange(10**6), help="draws the rounds"
    )
    parser.add_argument("--round", type=int, default=0, help="begin with this round")
    parser.add_argument("--no-slurm", action="store_true", help="use the local launcher only")
    return parser.parse_args()


def _print_skipped(what: str, reason: str) -> None:
    if reason:
        line = f"{what} SKIPPED: {reason}. The soak did not test this."
        print("#" * len(line), line, "#" * len(line), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
