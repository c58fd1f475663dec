"""Local Slurm cluster on one machine: munged, slurmctld and one slurmd per node.

One folder holds the configuration, state, logs and pid files. The cluster ends only processes that
it started. It needs root and the Debian packages in PACKAGES.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")

# A requeued job waits for cred_expire, which must exceed KillWait. Otherwise the job could start
# while its old processes still run, and Slurm would mark the node as broken.
CONFIGURATION = """
ClusterName=freezebench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
AuthInfo=socket={base}/run/munge.socket,cred_expire=8
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool/%n
SlurmctldPidFile={base}/run/slurmctld.pid
SlurmdPidFile={base}/run/%n.pid
SlurmctldLogFile={base}/log/slurmctld.log
SlurmdLogFile={base}/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout=10
InactiveLimit=0
KillWait=3
Waittime=0
MinJobAge=300
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,default_queue_depth=1000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
{nodes}
PartitionName=main Nodes={main} Default=YES MaxTime=INFINITE DefaultTime=5 GraceTime=20
PartitionName=wide Nodes={wide} MaxTime=INFINITE DefaultTime=5 GraceTime=20
PartitionName=high Nodes=ALL MaxTime=INFINITE DefaultTime=5 PriorityTier=10 PreemptMode=OFF
"""


class Cluster:
    """Slurm cluster in a folder. `environment` holds the variables that Slurm commands need.

    nodes: number of nodes with one core, in the default partition. wide: number of nodes with two
    cores, in the partition "wide", for jobs on several nodes. The attributes `nodes` and `wide`
    hold the names of these nodes.
    """

    def __init__(self, base: Path, nodes: int = 3, wide: int = 3) -> None:
        self.base = base
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        self.wide = [f"w{number}" for number in range(1, wide + 1)]
        self.environment = {"SLURM_CONF": str(base / "etc" / "slurm.conf")}

    def up(self) -> None:
        """Start the cluster. Raises RuntimeError with the last log lines if that fails."""
        for folder in ("etc", "run", "log", "state", *(f"spool/{n}" for n in self._all)):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        self.base.chmod(0o755)
        os.environ.update(self.environment)
        key = self.base / "etc" / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        self._configure()
        run = self.base / "run"
        self._start(
            "munged", f"--key-file={key}", f"--socket={run}/munge.socket",
            f"--pid-file={run}/munged.pid", f"--log-file={self.base}/log/munged.log",
            f"--seed-file={run}/munged.seed",
        )  # fmt: skip
        self._wait("munge", lambda: (run / "munge.socket").exists())
        self._start("slurmctld")
        self._wait("slurmctld", lambda: "UP" in read_output("scontrol", "ping"))
        for node in self._all:
            self.revive(node)
        self._wait("the nodes", lambda: self._count_idle() == len(self.nodes))

    def down(self) -> None:
        """Stop all processes of the cluster and delete its folder."""
        for node in self._all:
            self._kill_processes(node)
            self._end(self.base / "run" / f"{node}.pid", "slurmd")
        self._end(self.base / "run" / "slurmctld.pid", "slurmctld")
        self._end(self.base / "run" / "munged.pid", "munged")
        shutil.rmtree(self.base, ignore_errors=True)

    @property
    def _all(self) -> list[str]:
        return [*self.nodes, *self.wide]

    def crash(self, node: str) -> None:
        """Kill the slurmd of a node and all processes on the node, as a crash does."""
        self.lose(node)
        self._kill_processes(node)

    def lose(self, node: str) -> None:
        """Kill only the slurmd of a node. Its jobs keep running, as after a network failure."""
        self._end(self.base / "run" / f"{node}.pid", "slurmd", signal.SIGKILL)

    def revive(self, node: str) -> None:
        """Start the slurmd of a node."""
        self._start("slurmd", "-N", node)

    def stop_controller(self) -> None:
        """Stop slurmctld with SIGTERM."""
        self._end(self.base / "run" / "slurmctld.pid", "slurmctld")

    def start_controller(self) -> None:
        """Start slurmctld and wait until it responds."""
        self._start("slurmctld")
        self._wait("slurmctld", lambda: "UP" in read_output("scontrol", "ping"))

    def _configure(self) -> None:
        host = socket.gethostname().partition(".")[0]
        ports = _find_free_ports(1 + len(self._all))
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs={2 if node in self.wide else 1} RealMemory=4000 State=UNKNOWN"
            for node, port in zip(self._all, ports[1:], strict=True)
        )
        text = CONFIGURATION.format(
            host=host,
            ports=ports,
            base=self.base,
            nodes=nodes,
            main=",".join(self.nodes),
            wide=",".join(self.wide),
        )
        (self.base / "etc" / "slurm.conf").write_text(text)

    def _start(self, *command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(
                f"{command[0]} failed to start: {done.stderr.strip()}{self._read_logs()}"
            )

    def _wait(self, what: str, there: Callable[[], bool], seconds: float = 60) -> None:
        until = time.monotonic() + seconds
        while not there():
            if time.monotonic() > until:
                raise RuntimeError(f"{what} did not start in {seconds} s{self._read_logs()}")
            time.sleep(0.2)

    def _count_idle(self) -> int:
        return read_output("sinfo", "-h", "-N", "-p", "main", "-o", "%T").split().count("idle")

    def _read_logs(self) -> str:
        tails = [
            f"\n{path.name}: " + "\n".join(path.read_text().splitlines()[-5:])
            for path in sorted((self.base / "log").glob("*.log"))
        ]
        return "".join(tails)

    def _kill_processes(self, node: str) -> None:
        """Kill the slurmstepd and job processes of a node.

        A slurmstepd is recognised by its open log file, a job process by its environment.
        """
        marks = {f"SLURMD_NODENAME={node}", f"SLURM_CONF={self.environment['SLURM_CONF']}"}
        log = str(self.base / "log" / f"{node}.log")
        for process in Path("/proc").glob("[0-9]*"):
            try:
                variables = set(
                    (process / "environ").read_bytes().decode(errors="replace").split("\0")
                )
                step = (process / "comm").read_text().strip() == "slurmstepd"
                open_files = (
                    {str(f.readlink()) for f in (process / "fd").iterdir()} if step else set()
                )
            except OSError:
                continue  # the process has ended
            if (step and log in open_files) or marks <= variables:
                _kill(int(process.name), signal.SIGKILL)

    def _end(self, file: Path, name: str, how: int = signal.SIGTERM) -> None:
        """Signal the process in a pid file if its command is `name`, and wait until it ends."""
        try:
            number = int(file.read_text())
            command = Path(f"/proc/{number}/comm").read_text().strip()
        except (OSError, ValueError):
            return
        if command == name:
            _kill(number, how)
            until = time.monotonic() + 20
            while _is_alive(number):
                if time.monotonic() > until:
                    _kill(number, signal.SIGKILL)
                time.sleep(0.1)
        file.unlink(missing_ok=True)


def read_output(*command: str) -> str:
    """Return the stdout of a command, or '' if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout if done.returncode == 0 else ""


def _is_alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _kill(number: int, how: int) -> None:
    try:
        os.kill(number, how)
    except ProcessLookupError:
        return


def _find_free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
