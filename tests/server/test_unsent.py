"""What waits for all clients together."""

from __future__ import annotations

import asyncio

import pytest

from djhookbox.server.budget import Incoming
from djhookbox.server.connection import Handshake, Packet
from djhookbox.server.transports import csp_session
from djhookbox.server.unsent import Unsent
from djhookbox.wire.closing import TOO_SLOW

from .nodes import eventually


class Slow:
    """A client that reads nothing."""

    def __init__(self, unsent: Unsent) -> None:
        self._all = unsent
        self.unsent = 0
        self.dropped = False

    def write(self, size: int) -> None:
        self.unsent += size
        self._all.wrote(self, size)

    def shed(self) -> None:
        self.dropped = True
        self.unsent = 0


async def test_the_slowest_are_dropped_first(caplog: pytest.LogCaptureFixture) -> None:
    unsent = Unsent(10_000)
    clients = [Slow(unsent) for _ in range(10)]
    for number, client in enumerate(clients):
        client.write(100 * number)
    await asyncio.sleep(0)
    assert not any(client.dropped for client in clients)
    clients[3].write(6000)
    assert not clients[3].dropped, "not while somebody goes through an audience"
    await asyncio.sleep(0)
    assert [client.dropped for client in clients] == [n == 3 for n in range(10)]
    assert "Clients that do not read were dropped: 1," in caplog.text
    assert "HOOKBOX_MAX_UNSENT_TOTAL" in caplog.text


class Socket:
    """The transport of a request whose answer the client does not read."""

    def __init__(self) -> None:
        self.aborted = False

    def is_closing(self) -> bool:
        return self.aborted

    def get_write_buffer_size(self) -> int:
        return 100_000

    def abort(self) -> None:
        self.aborted = True


async def test_a_session_that_is_dropped_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csp_session, "SHED_SECONDS", 0.01)
    unsent, forgotten, ends = Unsent(10_000), [], []
    session = csp_session.CspConnection(
        1_000_000,
        forgotten.append,
        handshake=Handshake(),
        handle=None,
        on_end=lambda _, end: ends.append(end),
        max_frame_size=1000,
        frames_per_second=1000,
        incoming=Incoming(1000),
        all_unsent=unsent,
    )
    session.acks = True
    socket = Socket()
    comet = session.hold(socket)  # type: ignore[arg-type]
    session.write(Packet(b"x" * 20_000, b""))
    await asyncio.sleep(0)
    assert ends == [TOO_SLOW]
    assert b"DISCONNECT" in session.outbox.after(0)[-2][1], "for a client that still asks"
    await eventually(lambda: forgotten == [session])
    assert session.unsent == 0
    assert socket.aborted
    assert comet.over
    session.write(Packet(b"x", b""))
    assert session.unsent == 0


async def test_who_reads_is_not_counted() -> None:
    unsent = Unsent(10_000)
    reader, slow = Slow(unsent), Slow(unsent)
    slow.write(5000)
    for _ in range(1000):
        reader.write(100)
        reader.unsent = 0
        await asyncio.sleep(0)
    assert not reader.dropped
    assert not slow.dropped
    slow.unsent = 0
    unsent.look()
    assert unsent._slow == {}, "nobody is kept who has read everything"


async def test_many_slow_clients_stay_within_the_limit() -> None:
    unsent = Unsent(100_000)
    clients = [Slow(unsent) for _ in range(500)]
    for _ in range(20):
        for client in clients:
            if not client.dropped:
                client.write(100)
        await asyncio.sleep(0)
        assert sum(client.unsent for client in clients) <= 100_000
    assert any(not client.dropped for client in clients)
