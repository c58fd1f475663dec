"""Meeting point of the machines that execute runs together: a TCPStore on the first machine.

The launcher of the first machine publishes each attempt at a run as an order. For each order, the
launchers on the other machines start their share of the run's processes. These launchers stop
when the launcher of the first machine ends. Each launcher and its workers find the meeting point
in the environment variables MASTER_ADDR, MASTER_PORT, RANK and WORLD_SIZE. The variables mean the
same as in torch.distributed.run with one process on each machine.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import Any

from torch._C._distributed_c10d import Store, TCPStore

from bench.errors import ProcessLost, UserError

JOIN_SECONDS = 600.0  # maximum wait for the other machines
PROBE_SECONDS = 2.0  # maximum wait for one answer of a port
HANDSHAKE_SECONDS = 15.0  # a store on a busy machine answers in less
POLL_SECONDS = 0.3
LEAVE_SECONDS = 30.0  # maximum wait for the other machines at the end


class Machines:
    """This machine, number `rank` (from 0) of `size` machines.

    The first machine publishes orders, and the other machines follow them.
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self._store, self.rank, self.size = store, rank, size

    @property
    def first(self) -> bool:
        """Whether this machine decides which runs are executed."""
        return self.rank == 0

    def publish(self, task: Mapping[str, Any]) -> int:
        """Publish an order, a task for the other machines. Return its number, counted from 1.

        task: plain values.
        """
        number = int(self._store.add("orders", 1))
        self._store.set(f"order/{number}", json.dumps(task))
        return number

    def await_order(self, number: int) -> dict[str, Any] | None:
        """Wait for order `number`. Return None if the first machine publishes no more orders.

        Raises ProcessLost if the connection to the first machine breaks.
        """
        with _explain_loss():
            while not self._store.check([f"order/{number}"]):
                if self._store.check(["end"]):
                    return None
                time.sleep(POLL_SECONDS)
            order: dict[str, Any] = json.loads(self._store.get(f"order/{number}"))
            return order

    def join(self, number: int) -> None:
        """Tell the first machine that this machine executes its processes of the ordered run."""
        with _explain_loss():
            self._store.add(f"joined/{number}", 1)

    def have_joined(self, number: int) -> bool:
        """Return whether all other machines execute their processes of the ordered run."""
        return int(self._store.add(f"joined/{number}", 0)) >= self.size - 1

    def report(self, number: int, failure: Mapping[str, Any]) -> None:
        """Tell the first machine why this machine could not execute its share of an order."""
        with _explain_loss():
            if not self._store.check([f"failure/{number}"]):
                self._store.set(f"failure/{number}", json.dumps(failure))

    def read_failure(self, number: int) -> dict[str, Any] | None:
        """Return the first failure that any machine reported for an order, or None."""
        if not self._store.check([f"failure/{number}"]):
            return None
        failure: dict[str, Any] = json.loads(self._store.get(f"failure/{number}"))
        return failure

    def finish(self, number: int) -> None:
        """Tell the other machines that an order is over."""
        self._store.set(f"over/{number}", "")

    def is_over(self, number: int) -> bool:
        """Return whether an order is over. Raises ProcessLost if the first machine is gone."""
        marks = (f"over/{number}", f"order/{number + 1}", "end")
        with _explain_loss():
            return any(self._store.check([mark]) for mark in marks)

    def leave(self) -> None:
        """Acknowledge the end to the first machine, which keeps the store open until then."""
        with suppress(RuntimeError):
            self._store.add("left", 1)

    def end(self) -> None:
        """Tell the other machines that no order follows; wait up to LEAVE_SECONDS for `leave`."""
        self._store.set("end", "")
        until = time.monotonic() + LEAVE_SECONDS
        while int(self._store.add("left", 0)) < self.size - 1 and time.monotonic() < until:
            time.sleep(POLL_SECONDS)


@contextmanager
def meet(address: str, size: int) -> Iterator[Machines]:
    """Meet the other machines at HOST:PORT. The machine that has the address HOST is the first.

    size: number of machines. Raises UserError if the address is not valid or not reachable, if
    `size` is below 2, and if more than `size` machines come.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise UserError(f"--rendezvous {address} is not valid; give HOST:PORT")
    if size < 2:
        raise UserError(
            "--rendezvous is for runs on several machines; pass --nodes NUMBER too, at least 2"
        )
    listening = _listen(host, int(port))
    store = _serve(host, int(port), listening) if listening else _connect(host, int(port))
    rank = 0 if listening else int(store.add("machines", 1))
    if rank >= size:
        raise UserError(
            f"nodes = {size}, but the command has been started {rank + 1} times with --rendezvous "
            f"{address}; start it once on each of {size} machines"
        )
    with _act(store, host, int(port), rank, size) as machines:
        yield machines


@contextmanager
def meet_at(host: str, port: int, rank: int, size: int) -> Iterator[Machines]:
    """Meet the other machines at an address of machine 0, which becomes the first machine."""
    store = _connect(host, port) if rank else _serve(host, port)
    with _act(store, host, port, rank, size) as machines:
        yield machines


def connect() -> tuple[Machines, str]:
    """Return the machines of this launch and the address of their store, from the environment.

    Raises UserError if the environment variable MASTER_ADDR is not set.
    """
    if "MASTER_ADDR" not in os.environ:
        raise UserError(
            "a run with nodes above 1 needs its other machines; give --rendezvous HOST:PORT on "
            "each, or --launcher slurm"
        )
    address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return Machines(open_store(address), rank, size), address


def open_store(address: str) -> Store:
    """Connect to the store at HOST:PORT. Raises UserError if none appears in JOIN_SECONDS."""
    host, _, port = address.rpartition(":")
    return _connect(host, int(port))


def _connect(host: str, port: int) -> Store:
    """Connect to the store at HOST:PORT.

    Ctrl-C cannot end a wait of TCPStore, so another thread opens it. Raises UserError if nothing
    answers in JOIN_SECONDS, or if the answer is not that of a store.
    """
    _await_port(host, port)
    found: list[Store] = []

    def connect_in_thread() -> None:
        with suppress(RuntimeError):
            found.append(TCPStore(host, port, timeout=timedelta(seconds=HANDSHAKE_SECONDS)))

    thread = threading.Thread(target=connect_in_thread, daemon=True)
    thread.start()
    thread.join(2 * HANDSHAKE_SECONDS)
    if not found:
        raise UserError(
            f"{host}:{port} does not answer as a launcher of freezebench; check that the command "
            "still runs there, or give another port"
        )
    found[0].set_timeout(timedelta(seconds=JOIN_SECONDS))
    return found[0]


def _await_port(host: str, port: int) -> None:
    """Wait until a port accepts connections. Raises UserError if none does in JOIN_SECONDS."""
    until = time.monotonic() + JOIN_SECONDS
    for attempt in count():
        try:
            socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                raise UserError(
                    f"no machine answers at {host}:{port}; check the address, and start the "
                    "command on the machine that has it"
                ) from error
        if attempt == 0:
            print(f"waiting for the first machine, {host}:{port}", file=sys.stderr)
        time.sleep(POLL_SECONDS)


def _listen(host: str, port: int) -> socket.socket | None:
    """Return a socket that listens on a port, or None if this machine is not the first.

    None means that `host` is no address of this machine, or that another process on this machine
    already uses the port. The socket listens on all interfaces, because a machine may know its own
    name as a loopback address.
    """
    if not _has_address(host):
        return None
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return None
        raise UserError(
            f"this machine cannot listen at port {port} ({error.strerror}); give --rendezvous "
            "another port"
        ) from error


def _has_address(host: str) -> bool:
    """Return whether `host` is a name or address of this machine, to which a socket can bind."""
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise UserError(
            f"--rendezvous: the host {host} is not known ({error.strerror}); give a name or IP "
            "address of the first machine"
        ) from error
    for family, kind, protocol, _, place in found:
        with suppress(OSError), socket.socket(family, kind, protocol) as probe:
            probe.bind(place)
            return True
    return False


def _serve(host: str, port: int, listening: socket.socket | None = None) -> Store:
    """Return a store that other machines can connect to. Raises UserError if the port is in use."""
    try:
        return TCPStore(
            host,
            port,
            is_master=True,
            wait_for_workers=False,
            timeout=timedelta(seconds=JOIN_SECONDS),
            master_listen_fd=listening.detach() if listening else None,
        )
    except RuntimeError as error:
        raise UserError(
            f"port {port} of this machine cannot be used ({str(error).splitlines()[0]}); set the "
            "environment variable MASTER_PORT to another port"
        ) from error


@contextmanager
def _act(store: Store, host: str, port: int, rank: int, size: int) -> Iterator[Machines]:
    """Set the variables that `connect` reads, and yield the machines.

    After the block, the first machine calls `end`, and another machine calls `leave`.
    """
    machines = Machines(store, rank, size)
    values = {"MASTER_ADDR": host, "MASTER_PORT": port, "RANK": rank, "WORLD_SIZE": size}
    os.environ |= {name: str(value) for name, value in values.items()}
    try:
        yield machines
    finally:
        for name in values:
            os.environ.pop(name, None)
        if machines.first:
            machines.end()
        else:
            machines.leave()


@contextmanager
def _explain_loss() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # the class of all errors of a store
        raise ProcessLost(
            "the connection to the first machine was lost; run the same command on all machines "
            "again to resume from the last checkpoint"
        ) from error
