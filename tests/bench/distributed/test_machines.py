"""Meeting of machines: a wrong address or port ends with one line instead of a silent wait."""

import socket
import threading
from contextlib import suppress

import pytest

from bench.distributed import machines
from bench.errors import UserError


def test_a_port_of_another_program_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "HANDSHAKE_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with (
            pytest.raises(UserError, match=r"not answer as a launcher .*give another port"),
            machines.meet(f"127.0.0.1:{port}", 2),
        ):
            pass


def test_a_program_that_hangs_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "HANDSHAKE_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with suppress(OSError):
                while True:
                    server.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        with pytest.raises(UserError, match="check that the command still runs there"):
            machines.open_store(f"127.0.0.1:{server.getsockname()[1]}")


def test_a_machine_says_for_which_other_it_waits_and_then_gives_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machines, "JOIN_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(UserError, match=rf"no machine answers at 127.0.0.1:{port}; check the"):
        machines.open_store(f"127.0.0.1:{port}")
    assert f"for the first machine, 127.0.0.1:{port}" in capsys.readouterr().err
