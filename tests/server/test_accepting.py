"""Accepting, also without file descriptors."""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from djhookbox.server.transports import accepting
from djhookbox.server.transports.accepting import Acceptor

ROOT = Path(__file__).resolve().parents[2]

SERVER = """
import asyncio, logging, resource, sys
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
from djhookbox.server.running import run
from djhookbox.server.config import ServerConfig
if sys.argv[1] == "asyncio":
    sys.modules["uvloop"] = None
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (48, hard))
run(ServerConfig(port=0), on_ready=lambda address: print(address, flush=True))
"""


def listening() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    return listener


class Greeter(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


async def test_many_are_accepted() -> None:
    listener = listening()
    port = listener.getsockname()[1]
    acceptor = Acceptor(listener, Greeter)
    acceptor.start()

    async def visit() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        said = await reader.read()
        writer.close()
        return said

    assert set(await asyncio.gather(*(visit() for _ in range(150)))) == {b"hello"}
    acceptor.stop()
    with pytest.raises(OSError, match=r"refused|Connect call failed"):
        await visit()


class Short(socket.socket):
    """A listener that cannot accept at first."""

    problems: list[int]
    tried = 0

    def accept(self) -> tuple[socket.socket, Any]:
        self.tried += 1
        if self.problems:
            raise OSError(self.problems.pop(0), "short of it")
        return super().accept()


async def test_it_pauses_where_descriptors_are_short(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "PAUSE", 0.05)
    listener = Short(fileno=listening().detach())
    listener.problems = [errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.EMFILE]
    acceptor = Acceptor(listener, Greeter)
    began = time.monotonic()
    acceptor.start()
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    assert await asyncio.wait_for(reader.read(), 10) == b"hello"
    writer.close()
    assert time.monotonic() - began > 0.14, "three pauses"
    assert listener.tried <= 7
    assert caplog.text.count("No connections are accepted") == 3
    acceptor.stop()


async def test_a_pause_ends_when_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "PAUSE", 0.0)
    listener = Short(fileno=listening().detach())
    listener.problems = [errno.EMFILE]
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, fault: faults.append(fault))
    acceptor = Acceptor(listener, Greeter)
    acceptor.start()
    with socket.create_connection(listener.getsockname()):
        while not listener.tried:
            await asyncio.sleep(0)
        acceptor.stop()
        await asyncio.sleep(0.01)
    assert (listener.tried, faults) == (1, [])


@pytest.mark.parametrize("error", [OSError("gone"), TypeError("a bug")])
async def test_a_client_that_cannot_be_served_is_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    async def lost(*_arguments: object) -> None:
        raise error

    listener = listening()
    acceptor = Acceptor(listener, Greeter)
    monkeypatch.setattr(asyncio.get_running_loop(), "connect_accepted_socket", lost, raising=False)
    acceptor.start()
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    acceptor.stop()
    faults = [] if isinstance(error, OSError) else ["A connection could not be served"]
    assert [
        record.getMessage() for record in caplog.records if record.levelname == "ERROR"
    ] == faults


async def test_answers_leave_at_once() -> None:
    listener = listening()
    made: list[asyncio.BaseTransport] = []

    class Kept(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport)

    acceptor = Acceptor(listener, Kept)
    acceptor.start()
    with socket.create_connection(listener.getsockname()):
        while not made:
            await asyncio.sleep(0.01)
        sock = made[0].get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        made[0].close()
    acceptor.stop()


#: uvloop is optional, and no machine has to have it.
LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]


@pytest.fixture(params=LOOPS)
def server(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, request.param], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    yield process
    process.kill()
    process.communicate()


@pytest.mark.process
def test_a_server_without_descriptors_stays_calm(server: subprocess.Popen[str]) -> None:
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    host, port = address.removeprefix("http://").split(":")
    clients = [socket.create_connection((host, int(port))) for _ in range(90)]
    time.sleep(3)
    for client in clients:
        client.close()
    deadline = time.monotonic() + 15
    while True:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=3) as answer:
                assert answer.status == 200
            break
        except OSError:
            assert time.monotonic() < deadline, "it accepts again"
    server.terminate()
    _, errors = server.communicate(timeout=20)
    assert "Too many open files" in errors
    assert len(errors.splitlines()) < 30, errors[:3000]
    assert "Traceback" not in errors
